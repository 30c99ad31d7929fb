/** The files in the tree: listed in pages, removed for good or into Archives/, and abandoned temporary files swept. */
import type { FileEntry, FilePage, FileQuery, RemoveRequest, RemoveResult } from "../schemas/agent-protocol.ts";
import { AgentFailure } from "./failure.ts";
import { type Folder, splitKey } from "./folder.ts";
import { temporaryNamePattern } from "./record.ts";
import { openTree, type TreeSettings } from "./tree.ts";

const archiveFolder = "Archives";

/**
 * Files below the root in order of their path's components; dot-names, links and devices are not shown. One folder's
 * names are in memory at a time for each level.
 */
export async function listFiles(query: FileQuery, tree: TreeSettings): Promise<FilePage> {
  await using root = await openTree(tree);
  const after = query.cursor?.split("/") ?? null;
  const files: FileEntry[] = [];
  for await (const file of walk(root, "", query.prefix, after)) {
    if (files.length === query.limit) return { files, cursor: files.at(-1)?.key ?? null };
    files.push(file);
  }
  return { files, cursor: null };
}

async function* walk(
  folder: Folder,
  path: string,
  prefix: string,
  after: readonly string[] | null,
): AsyncGenerator<FileEntry> {
  const [skipTo, ...rest] = after ?? [];
  for (const { name, kind } of await folder.entries()) {
    if (name.startsWith(".") || (skipTo !== undefined && name < skipTo)) continue;
    const key = `${path}${name}`;
    if (kind === "folder" && (`${key}/`.startsWith(prefix) || prefix.startsWith(`${key}/`))) {
      const child = await folder.descend([name], false);
      if (child === null) continue;
      await using open = child;
      yield* walk(open, `${key}/`, prefix, name === skipTo && rest.length > 0 ? rest : null);
    }
    if (kind !== "file" || !key.startsWith(prefix) || (name === skipTo && rest.length === 0)) continue;
    const facts = await folder.file(name);
    if (facts !== null) {
      yield { key, sizeBytes: facts.sizeBytes, modifiedAt: new Date(facts.modifiedAtMs).toISOString() };
    }
  }
}

/** Moves or deletes. What is not there (any more) counts as removed. */
export async function removeFile(request: RemoveRequest, tree: TreeSettings, nowMs: number): Promise<RemoveResult> {
  const { key, mode } = request;
  const { folders, name } = splitKey(key);
  const nothing: RemoveResult = { key, mode, removed: false, archivedKey: null };
  await using root = await openTree(tree);
  const folder = await root.descend(folders, false);
  if (folder === null) return nothing;
  await using open = folder;
  if ((await open.file(name)) === null) return nothing;
  if (mode === "delete") {
    const removed = await open.remove(name);
    await open.sync();
    return { ...nothing, removed };
  }
  // Clients/{client}/{project} becomes Archives/{client}/{project}.
  const archivedFolders = [archiveFolder, ...folders.slice(1)];
  const archive = await root.descend(archivedFolders, true);
  if (archive === null) throw new AgentFailure("LUCIDLINK_UNAVAILABLE", "The archive folder vanished.");
  await using target = archive;
  const archivedName = (await target.file(name)) === null ? name : stampedName(name, nowMs);
  await open.rename(name, target, archivedName);
  await Promise.all([open.sync(), target.sync()]);
  return { ...nothing, removed: true, archivedKey: [...archivedFolders, archivedName].join("/") };
}

/** An archived file is never overwritten by a later one of the same name. */
function stampedName(name: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]/g, "");
  return name.replace(/(\.[^.]+)?$/, `_${stamp}$1`);
}

/**
 * Removes the temporary files below Clients/ that no transfer will go on with.
 * @returns how many
 */
export async function sweepTemporaries(tree: TreeSettings, isWanted: (path: string) => boolean): Promise<number> {
  await using root = await openTree(tree);
  const clients = await root.descend(["Clients"], false);
  if (clients === null) return 0;
  await using open = clients;
  return await sweep(open, "Clients/", isWanted);
}

async function sweep(folder: Folder, path: string, isWanted: (path: string) => boolean): Promise<number> {
  let removed = 0;
  for (const { name, kind } of await folder.entries()) {
    if (kind === "folder") {
      const child = await folder.descend([name], false);
      if (child === null) continue;
      await using open = child;
      removed += await sweep(open, `${path}${name}/`, isWanted);
    } else if (kind === "file" && temporaryNamePattern.test(name) && !isWanted(`${path}${name}`)) {
      removed += (await folder.remove(name)) ? 1 : 0;
    }
  }
  return removed;
}
