/**
 * The LucidLink tree: opened again for every piece of work, so that a filespace that went away is noticed, and refused
 * when it is not mounted. Everything below happens through open folders, so nothing can land outside it.
 */
import { constants, type StatsFs } from "node:fs";
import { open, readFile, realpath, stat, statfs } from "node:fs/promises";
import path from "node:path";
import { AgentFailure } from "./failure.ts";
import { Folder } from "./folder.ts";
import { mountPoints } from "./mount.ts";

export interface TreeSettings {
  root: string;
  /** The directory that must be a mount point; null: the root may be a plain folder. */
  mountPoint: string | null;
  minFreeBytes: number;
}

export interface Space {
  freeBytes: number;
  totalBytes: number;
}

/** @throws AgentFailure LUCIDLINK_NOT_MOUNTED. The caller closes the folder. */
export async function openTree(settings: TreeSettings): Promise<Folder> {
  const handle = await open(settings.root, constants.O_RDONLY | constants.O_DIRECTORY).catch((cause: unknown) => {
    throw notMounted("The root cannot be opened.", cause);
  });
  try {
    const { dev } = await handle.stat();
    if (settings.mountPoint !== null) await requireMount(settings.root, settings.mountPoint, dev);
    return new Folder(handle, settings.root);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The open root must itself lie on the mount: a mount that vanishes between check and use cannot divert a write. */
async function requireMount(root: string, mountPoint: string, rootDevice: number): Promise<void> {
  const [realRoot, realMountPoint] = await Promise.all([realpath(root), realpath(mountPoint)]).catch(
    (cause: unknown) => {
      throw notMounted("The mount point cannot be read.", cause);
    },
  );
  const within = path.relative(realMountPoint, realRoot);
  if (within === ".." || within.startsWith(`..${path.sep}`)) throw notMounted("The root is not below the mount point.");
  const mounted = mountPoints(await readFile("/proc/self/mountinfo", "utf8"));
  const beside = await stat(path.dirname(realMountPoint));
  if (!mounted.includes(realMountPoint) || beside.dev === rootDevice) throw notMounted("Nothing is mounted there.");
}

function notMounted(detail: string, cause?: unknown): AgentFailure {
  return new AgentFailure("LUCIDLINK_NOT_MOUNTED", detail, cause);
}

export async function spaceOf(tree: Folder): Promise<Space> {
  const facts: StatsFs = await statfs(tree.path("."));
  return { freeBytes: facts.bavail * facts.bsize, totalBytes: facts.blocks * facts.bsize };
}

/**
 * @param plannedBytes what copies under way have yet to write
 * @throws AgentFailure LUCIDLINK_FULL when these would not fit above the floor
 */
export async function requireSpace(tree: Folder, settings: TreeSettings, plannedBytes: number): Promise<void> {
  const { freeBytes } = await spaceOf(tree);
  if (freeBytes - plannedBytes < settings.minFreeBytes) {
    throw new AgentFailure(
      "LUCIDLINK_FULL",
      `${freeBytes} bytes are free; ${plannedBytes} more would pass the floor of ${settings.minFreeBytes}.`,
    );
  }
}
