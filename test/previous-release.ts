/**
 * The release before this one, as its own code: while a deployment is under way, after a rollback, and in every queue, the
 * two meet. Taken from git, so that nothing has to be kept up to date but one name.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** What is deployed before this code is. Each release moves it on to the one it follows. */
export const previousRelease = "b9e50ba";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

export interface PreviousRelease {
  folder: string;
  dispose(): Promise<void>;
}

/** Null where git does not know it: a copy of the files alone, a shallow clone. */
export async function unpackPreviousRelease(): Promise<PreviousRelease | null> {
  const folder = await mkdtemp(join(tmpdir(), "mmf-previous-release-"));
  const dispose = () => rm(folder, { recursive: true, force: true });
  const archive = join(folder, "release.tar");
  try {
    await run("git", ["archive", "--format=tar", "--output", archive, previousRelease], { cwd: root, timeout: 30_000 });
  } catch {
    await dispose();
    return null;
  }
  await run("tar", ["-xf", archive, "-C", folder], { timeout: 30_000 });
  // Both run on what is installed now: it is their own code that is compared.
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  return { folder, dispose };
}

export const noPreviousRelease = `git does not know ${previousRelease}, the release before this one`;
