/**
 * Which processes belong to a stack, and what they hold open, read from /proc. A process is known by a variable in its
 * environment: it is inherited by every descendant, also by one that left its group or lost its parent.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

const markerName = "MMF_E2E_STACK";

export interface ProcessFacts {
  pid: number;
  parentPid: number;
  command: string[];
  environment: Record<string, string>;
}

export interface OpenFile {
  pid: number;
  path: string;
  writable: boolean;
}

export function markedEnvironment(marker: string): Record<string, string> {
  return { [markerName]: marker };
}

function readProcess(pid: number): ProcessFacts | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, parentPid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z") return null;
    const fields = (name: string) => readFileSync(`/proc/${pid}/${name}`, "utf8").split("\0").slice(0, -1);
    const environment = Object.fromEntries(
      fields("environ").map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    );
    return { pid, parentPid: Number(parentPid), command: fields("cmdline"), environment };
  } catch {
    return null;
  }
}

/** Every living process of the stack; zombies are not alive. */
export function processesOf(marker: string): ProcessFacts[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? [])
    .filter(({ environment }) => environment[markerName] === marker);
}

export function isRunning(pid: number): boolean {
  return readProcess(pid) !== null;
}

/** A process and all that descend from it. */
export function subtree(processes: readonly ProcessFacts[], root: number): ProcessFacts[] {
  return processes.flatMap((entry) => {
    if (entry.pid === root) return [entry, ...children(processes, root)];
    return [];
  });
}

function children(processes: readonly ProcessFacts[], parent: number): ProcessFacts[] {
  return processes
    .filter(({ parentPid }) => parentPid === parent)
    .flatMap((entry) => [entry, ...children(processes, entry.pid)]);
}

/** The program's own name: /usr/bin/ffmpeg → ffmpeg. */
export function programOf({ command }: ProcessFacts): string {
  return command[0]?.split("/").at(-1) ?? "";
}

/** Regular files that a process has open, deleted ones too (their path ends in " (deleted)"). */
export function openFiles(pid: number): OpenFile[] {
  const folder = `/proc/${pid}/fd`;
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      const path = readlinkSync(`${folder}/${name}`);
      if (!path.startsWith("/") || !statSync(`${folder}/${name}`).isFile()) return [];
      const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${name}`, "utf8"))?.[1] ?? "";
      // The two lowest bits are the access mode: 0 reads, 1 writes, 2 both.
      return [{ pid, path, writable: (Number.parseInt(flags, 8) & 3) !== 0 }];
    } catch {
      return [];
    }
  });
}

/** Files that a process shares with others through memory, such as those of /dev/shm. */
export function sharedMappings(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/maps`, "utf8")
      .split("\n")
      .filter((line) => /^\S+ .w.s /.test(line))
      .flatMap((line) => /\s(\/.*)$/.exec(line)?.[1] ?? []);
  } catch {
    return [];
  }
}

/** Starts a process again as it was: same command line, same environment. */
export function startAgain({ command, environment }: ProcessFacts): ChildProcess {
  const [program, ...args] = command;
  if (program === undefined) throw new Error("The process had no command line.");
  return spawn(program, args, { env: environment, detached: true, stdio: "ignore" });
}
