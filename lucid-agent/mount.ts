/** Whether a path is a mount point, read from /proc/self/mountinfo. */

const escaped = /\\([0-7]{3})/g;

/** @returns the mount points named by a mountinfo text, unescaped. */
export function mountPoints(mountinfo: string): string[] {
  return mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4])
    .filter((field) => field !== undefined)
    .map((field) => field.replace(escaped, (_whole, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));
}
