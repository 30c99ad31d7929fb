/** Ceph's programs: whether they are installed, and running one to its end. */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const needed = ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"] as const;
export type Program = (typeof needed)[number];

export const debianPackages = ["ceph-mon", "ceph-osd", "radosgw", "ceph-common"] as const;

const commandTimeoutMs = 60_000;
const longestOutputBytes = 16 * 1024 * 1024;

function isInstalled(program: string, path: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @throws what to install, when anything is missing */
export function requirePrograms(path = process.env.PATH ?? ""): void {
  const missing = needed.filter((program) => !isInstalled(program, path));
  if (missing.length === 0) return;
  throw new Error(
    `Ceph is not installed (missing: ${missing.join(", ")}). ` +
      `On Debian: apt-get install --no-install-recommends ${debianPackages.join(" ")}`,
  );
}

/** @returns what it printed @throws its exit status and last words */
export async function runProgram(program: Program, args: readonly string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    const options = { timeout: commandTimeoutMs, maxBuffer: longestOutputBytes };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new ProgramError(program, error.code, stderr));
    });
  });
}

export class ProgramError extends Error {
  readonly status: number | null;
  constructor(program: string, status: unknown, stderr: string) {
    const lastWords = stderr.trim().split("\n").slice(-3).join("; ");
    super(`${program} failed${typeof status === "number" ? ` with status ${status}` : ""}: ${lastWords}`);
    this.name = "ProgramError";
    this.status = typeof status === "number" ? status : null;
  }
}
