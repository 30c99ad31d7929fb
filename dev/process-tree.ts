/**
 * Processes by identity (pid and start time, since pids are reused) and whole process groups: an orphaned workerd goes
 * on serving its port, so what is stopped is always the group.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";

/** `startedAt` is opaque: equal for the same process, different for a later one with its pid. */
export const ProcessIdentity = z.object({ pid: z.int().positive(), startedAt: z.string() });
export type ProcessIdentity = z.infer<typeof ProcessIdentity>;

type ProcessEntry = { pid: number; group: number; startedAt: string };

const killTimeoutMs = 10_000;
const hasProc = existsSync("/proc/self/stat");
const bootId = hasProc ? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() : "";

/** The command in a stat line may hold spaces and parentheses: fields count from its last `)`. */
function parseStat(pid: number, stat: string): ProcessEntry | null {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, , group] = fields;
  const [threads, startTicks] = [Number(fields[17]), fields[19]];
  if (group === undefined || startTicks === undefined) return null;
  // While other threads of a zombie are still ending, its ports are not free yet.
  if (state === "Z" && threads <= 1) return null;
  return { pid, group: Number(group), startedAt: `${bootId}:${startTicks}` };
}

function readProcEntry(pid: number): ProcessEntry | null {
  try {
    return parseStat(pid, readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return null;
  }
}

function listWithPs(selection: string[]): ProcessEntry[] {
  let output: string;
  try {
    output = execFileSync("ps", [...selection, "-o", "pid=,pgid=,stat=,lstart="], { encoding: "utf8" });
  } catch {
    return [];
  }
  return output.split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line);
    if (match === null || match[3]?.startsWith("Z")) return [];
    return [{ pid: Number(match[1]), group: Number(match[2]), startedAt: match[4] ?? "" }];
  });
}

function readProcess(pid: number): ProcessEntry | null {
  return hasProc ? readProcEntry(pid) : (listWithPs(["-p", String(pid)])[0] ?? null);
}

function listProcesses(): ProcessEntry[] {
  if (!hasProc) return listWithPs(["-A"]);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcEntry(Number(name)) ?? []);
}

/** @returns null when there is no such process (any more). */
export function identify(pid: number): ProcessIdentity | null {
  const entry = readProcess(pid);
  return entry === null ? null : { pid, startedAt: entry.startedAt };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return readProcess(identity.pid)?.startedAt === identity.startedAt;
}

/** Living members of a process group, by pid. */
export function groupMembers(group: number): number[] {
  return listProcesses()
    .filter((entry) => entry.group === group)
    .map((entry) => entry.pid);
}

/** Nothing happens when the group is gone. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    // EPERM: macOS answers so for a group of which only zombies are left.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

/**
 * Kills what a dead supervisor left behind. A group whose leader's pid now belongs to another process is not ours; one
 * whose leader is gone still is, since a pid that names a living group is not given out again.
 * @returns the pids that were killed, once they are gone and their ports free again
 */
export async function killOrphans(leaders: readonly ProcessIdentity[]): Promise<number[]> {
  const killed = leaders.flatMap((leader) => {
    const current = readProcess(leader.pid);
    if (current !== null && current.startedAt !== leader.startedAt) return [];
    const members = groupMembers(leader.pid);
    if (members.length > 0) signalGroup(leader.pid, "SIGKILL");
    return members;
  });
  const deadline = performance.now() + killTimeoutMs;
  while (killed.some((pid) => readProcess(pid) !== null)) {
    if (performance.now() > deadline) throw new Error(`Processes of the last run do not end: ${killed.join(", ")}`);
    await sleep(10);
  }
  return killed;
}
