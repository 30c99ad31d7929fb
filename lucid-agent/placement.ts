/** Places one file: temporary name in the target folder, verified while written, synced, renamed, folder synced. */
import { CompositeHash, hashFile } from "./composite-hash.ts";
import { type CopyPorts, type CopySettings, type CopyWork, copySource } from "./copy.ts";
import { AgentFailure } from "./failure.ts";
import { type Folder, splitKey } from "./folder.ts";
import { temporaryName } from "./record.ts";
import { openTree, requireSpace, type TreeSettings } from "./tree.ts";

export interface PlacementPorts extends Omit<CopyPorts, "onStride"> {
  /** What the other copies under way have yet to write. */
  plannedBytes(): number;
}

/**
 * @returns once the file lies whole, verified and synced at its key
 * @throws AgentFailure; the temporary file stays where going on from it makes sense
 */
export async function place(
  key: string,
  work: CopyWork,
  tree: TreeSettings,
  settings: CopySettings,
  ports: PlacementPorts,
  signal: AbortSignal,
): Promise<void> {
  const { folders, name } = splitKey(key);
  await using root = await openTree(tree);
  await using folder = await targetFolder(root, folders);
  if (await holds(folder, name, work, signal)) {
    ports.onProgress(work.sizeBytes);
    return;
  }
  const temporary = temporaryName(name, work.sha256.composite);
  const landedBytes = (await folder.file(temporary))?.sizeBytes ?? 0;
  await requireSpace(root, tree, ports.plannedBytes() + Math.max(work.sizeBytes - landedBytes, 0));
  const handle = await folder.open(temporary, "write");
  if (handle === null) throw new AgentFailure("LUCIDLINK_UNAVAILABLE", "The temporary file was not created.");
  try {
    await copySource(work, handle, settings, { ...ports, onStride: () => requireSpace(root, tree, 0) }, signal);
    await handle.sync();
  } finally {
    await handle.close();
  }
  signal.throwIfAborted();
  await folder.rename(temporary, folder, name);
  await folder.sync();
}

async function targetFolder(root: Folder, folders: readonly string[]): Promise<Folder> {
  const folder = await root.descend(folders, true);
  if (folder === null) throw new AgentFailure("LUCIDLINK_UNAVAILABLE", "The target folder vanished.");
  return folder;
}

/** Whether the key already holds the right bytes, made durable again: a crash may have come before its sync. */
async function holds(folder: Folder, name: string, work: CopyWork, signal: AbortSignal): Promise<boolean> {
  const facts = await folder.file(name);
  if (facts === null || facts.sizeBytes !== work.sizeBytes) return false;
  const handle = await folder.open(name, "read");
  if (handle === null) return false;
  try {
    const hash = new CompositeHash(work.sha256.partSizeBytes);
    await hashFile(handle, hash, work.sizeBytes, signal);
    if (hash.digest().composite !== work.sha256.composite) return false;
    await handle.sync();
  } finally {
    await handle.close();
  }
  await folder.sync();
  return true;
}

/** Removes the temporary file of a placement that will not go on. */
export async function removeTemporary(key: string, composite: string, tree: TreeSettings): Promise<void> {
  const { folders, name } = splitKey(key);
  await using root = await openTree(tree);
  const folder = await root.descend(folders, false);
  if (folder === null) return;
  await using open = folder;
  await open.remove(temporaryName(name, composite));
}

/** @throws AgentFailure when the key could not be written now: not mounted, a link on the way, no room. */
export async function requirePlaceable(
  key: string,
  work: Pick<CopyWork, "sizeBytes" | "sha256">,
  tree: TreeSettings,
): Promise<void> {
  const { folders, name } = splitKey(key);
  await using root = await openTree(tree);
  const folder = await root.descend(folders, false);
  let landedBytes = 0;
  if (folder !== null) {
    await using open = folder;
    await open.file(name);
    landedBytes = (await open.file(temporaryName(name, work.sha256.composite)))?.sizeBytes ?? 0;
  }
  await requireSpace(root, tree, Math.max(work.sizeBytes - landedBytes, 0));
}

/** The size of the file at a key, or null. */
export async function sizeAt(key: string, tree: TreeSettings): Promise<number | null> {
  const { folders, name } = splitKey(key);
  await using root = await openTree(tree);
  const folder = await root.descend(folders, false);
  if (folder === null) return null;
  await using open = folder;
  return (await open.file(name))?.sizeBytes ?? null;
}
