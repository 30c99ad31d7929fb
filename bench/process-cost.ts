/** What a child of the stack has cost so far, in processor time. */
import { readFileSync } from "node:fs";
import { groupMembers } from "../dev/process-tree.ts";

/** Linux counts in hundredths, whatever the kernel's own clock. */
const ticksPerSecond = 100;

/** Of every living process in the group; null where the system has no /proc. */
export function cpuSecondsOf(group: number): number | null {
  let ticks = 0;
  for (const pid of groupMembers(group)) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      return null;
    }
  }
  return ticks / ticksPerSecond;
}

/** Of one process alone, and of its children that have ended, with theirs. */
export function treeCpuSecondsOf(pid: number): { own: number; ended: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const ticks = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 15)
      .map(Number);
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = ticks;
    return { own: (user + system) / ticksPerSecond, ended: (endedUser + endedSystem) / ticksPerSecond };
  } catch {
    return null;
  }
}
