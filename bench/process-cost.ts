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
