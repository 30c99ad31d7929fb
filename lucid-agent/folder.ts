/**
 * An open directory. Names are resolved against its descriptor (through /proc/self/fd, Node's only openat), one
 * component at a time and never through a symbolic link, so that swapping a folder for a link midway gains nothing.
 */
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import path from "node:path";
import { AgentFailure, errnoOf } from "./failure.ts";

const hasDescriptorPaths = process.platform === "linux";

export interface FolderEntry {
  name: string;
  kind: "file" | "folder" | "other";
}

export interface FileFacts {
  sizeBytes: number;
  modifiedAtMs: number;
}

export class Folder implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #realPath: string;

  constructor(handle: FileHandle, realPath: string) {
    this.#handle = handle;
    this.#realPath = realPath;
  }

  /** Where the system finds a direct child. Not for messages. */
  path(name: string): string {
    return hasDescriptorPaths ? `/proc/self/fd/${this.#handle.fd}/${name}` : path.join(this.#realPath, name);
  }

  /**
   * Opens a folder below, creating what is missing when asked to.
   * @returns null when it is not there
   * @throws AgentFailure PATH_REFUSED when a component is a link or no folder
   */
  async descend(names: readonly string[], create: boolean): Promise<Folder | null> {
    const here = await open(this.path("."), constants.O_RDONLY | constants.O_DIRECTORY);
    let folder = new Folder(here, this.#realPath);
    for (const name of names) {
      let child: Folder | null;
      try {
        child = await folder.#child(name, create);
      } finally {
        await folder[Symbol.asyncDispose]();
      }
      if (child === null) return null;
      folder = child;
    }
    return folder;
  }

  async #child(name: string, create: boolean): Promise<Folder | null> {
    requirePlainName(name);
    if (create) {
      await mkdir(this.path(name)).catch((error: unknown) => {
        if (errnoOf(error) !== "EEXIST") throw error;
      });
    }
    try {
      const handle = await open(
        this.path(name),
        constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      );
      return new Folder(handle, path.join(this.#realPath, name));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT") return null;
      if (errno === "ENOTDIR" || errno === "ELOOP") {
        throw new AgentFailure("PATH_REFUSED", `"${name}" is a symbolic link or not a folder.`);
      }
      throw error;
    }
  }

  /** @returns null when there is none. @throws AgentFailure PATH_REFUSED when it is a link or no plain file. */
  async file(name: string): Promise<FileFacts | null> {
    requirePlainName(name);
    try {
      const facts = await lstat(this.path(name));
      if (!facts.isFile()) throw new AgentFailure("PATH_REFUSED", `"${name}" is not a plain file.`);
      return { sizeBytes: facts.size, modifiedAtMs: facts.mtimeMs };
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return null;
      throw error;
    }
  }

  /** Opens a plain file; the caller closes it. @returns null when it is read and not there. */
  async open(name: string, mode: "read" | "write"): Promise<FileHandle | null> {
    requirePlainName(name);
    const access = mode === "read" ? constants.O_RDONLY : constants.O_RDWR | constants.O_CREAT;
    try {
      const handle = await open(this.path(name), access | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o664);
      if ((await handle.stat()).isFile()) return handle;
      await handle.close();
      throw new AgentFailure("PATH_REFUSED", `"${name}" is not a plain file.`);
    } catch (error) {
      if (mode === "read" && errnoOf(error) === "ENOENT") return null;
      throw error;
    }
  }

  async rename(from: string, target: Folder, to: string): Promise<void> {
    requirePlainName(from);
    requirePlainName(to);
    await rename(this.path(from), target.path(to));
  }

  /** @returns false when there was nothing. */
  async remove(name: string): Promise<boolean> {
    requirePlainName(name);
    try {
      await unlink(this.path(name));
      return true;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    }
  }

  /** Direct children, sorted by name. */
  async entries(): Promise<FolderEntry[]> {
    const found = await readdir(this.path("."), { withFileTypes: true });
    return found
      .map((entry): FolderEntry => {
        const kind = entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "other";
        return { name: entry.name, kind };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Makes renames and removals in this folder survive a crash. */
  async sync(): Promise<void> {
    await this.#handle.sync().catch((error: unknown) => {
      // Some FUSE file systems do not sync folders; the durability probe stands behind this.
      const errno = errnoOf(error);
      if (errno !== "EINVAL" && errno !== "ENOTSUP" && errno !== "ENOSYS") throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** The grammar of keys allows no such name; this stands behind it. */
function requirePlainName(name: string): void {
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")) {
    throw new AgentFailure("PATH_REFUSED", "The path would leave the root.");
  }
}

/** @throws AgentFailure PATH_REFUSED for anything but a relative path of plain names. */
export function splitKey(key: string): { folders: string[]; name: string } {
  const parts = key.split("/");
  for (const part of parts) requirePlainName(part);
  const name = parts.pop() ?? "";
  return { folders: parts, name };
}
