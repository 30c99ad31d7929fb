/**
 * Runs one child of the stack in its own process group: starts it, waits until it is ready, starts it again with
 * backoff when it crashes, and ends the whole group. Configuration goes over IPC, so no secret shows in `ps`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { followLog, lastLines, openLogFile } from "./log-file.ts";
import { groupMembers, signalGroup } from "./process-tree.ts";

export type ChildPlan = {
  name: string;
  /** The TypeScript entry, run by this process's own Node. */
  entry: string;
  /** Modules to load before it, as file URLs or paths. */
  preload?: readonly string[];
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Sent over IPC to entries that ask for it. */
  config?: unknown;
  logFile: string;
  /** Ready means ready to be used, not merely started. Called until it answers true. */
  isReady(child: ReadinessView): Promise<boolean>;
  readyTimeoutMs: number;
};

/** What a readiness check may look at besides the network. */
export type ReadinessView = { pid: number; messages: readonly unknown[] };

export type ChildEvent =
  | { type: "crashed"; name: string; how: string; restartInMs: number | null; lastLines: readonly string[] }
  | { type: "restarted"; name: string }
  | { type: "pid-changed"; name: string };

export type SupervisorOptions = {
  restart: boolean;
  onEvent(event: ChildEvent): void;
  onLine?(name: string, line: string): void;
};

export type SupervisedChild = {
  readonly name: string;
  pid(): number | null;
  /** Resolves when ready; rejects with the child's last words when it dies or is not ready in time. */
  start(): Promise<void>;
  /** SIGTERM, then SIGKILL of the group after the grace period. No restart follows. */
  stop(graceMs?: number): Promise<void>;
  /** At once, for the way out when there is no time left. */
  killNow(): void;
};

const lifeline = fileURLToPath(new URL("lifeline.ts", import.meta.url));
const keptLines = 12;
const firstBackoffMs = 250;
const maxBackoffMs = 10_000;
const healthyAfterMs = 30_000;
const readyPollMs = 50;

/** Doubles with every crash in a row; a child that lived long enough starts over. */
export function restartDelayMs(crashesInARow: number): number {
  return Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.max(0, crashesInARow - 1));
}

type Run = {
  process: ChildProcess;
  pid: number;
  exited: Promise<string>;
  view: ReadinessView;
  startedAtMs: number;
  lastWords(): string[];
};

export function superviseChild(plan: ChildPlan, options: SupervisorOptions): SupervisedChild {
  let run: Run | null = null;
  let wanted = false;
  let crashesInARow = 0;

  function spawnOnce(): Run {
    const { fd, offset } = openLogFile(plan.logFile);
    const preload = [lifeline, ...(plan.preload ?? [])].flatMap((module) => ["--import", module]);
    const child = spawn(process.execPath, [...preload, plan.entry, ...(plan.args ?? [])], {
      detached: true,
      stdio: ["ignore", fd, fd, "ipc"],
      env: { ...process.env, ...plan.env },
    });
    closeSync(fd);
    const pid = child.pid;
    if (pid === undefined) throw new Error(`${plan.name}: could not start ${plan.entry}`);
    const { onLine } = options;
    const endFollowing =
      onLine === undefined ? () => undefined : followLog(plan.logFile, offset, (line) => onLine(plan.name, line));
    const messages: unknown[] = [];
    child.on("message", (message) => messages.push(message));
    // A child that dies at once closes the channel under the send; its exit tells the story.
    if (plan.config !== undefined) child.send(plan.config as object, () => undefined);
    const exited = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("close", (code, signal) => {
        endFollowing();
        resolve(signal === null ? `exit code ${code}` : `signal ${signal}`);
      });
      child.once("exit", () => signalGroup(pid, "SIGKILL"));
    });
    return {
      process: child,
      pid,
      exited,
      view: { pid, messages },
      startedAtMs: performance.now(),
      lastWords: () => lastLines(plan.logFile, offset, keptLines),
    };
  }

  async function waitUntilReady(current: Run): Promise<void> {
    const deadline = performance.now() + plan.readyTimeoutMs;
    let end: string | null = null;
    void current.exited.then((how) => {
      end = how;
    });
    while (end === null && performance.now() < deadline) {
      if (await plan.isReady(current.view).catch(() => false)) return;
      await sleep(readyPollMs);
    }
    const what = end === null ? `was not ready after ${plan.readyTimeoutMs / 1_000} s` : `stopped (${end})`;
    const words = current
      .lastWords()
      .map((line) => `    ${line}`)
      .join("\n");
    throw new Error(`${plan.name} ${what}. Its log: ${plan.logFile}${words === "" ? "" : `\n${words}`}`);
  }

  function begin(): Run {
    const current = spawnOnce();
    run = current;
    options.onEvent({ type: "pid-changed", name: plan.name });
    void current.exited.then((how) => {
      if (run !== current) return;
      run = null;
      options.onEvent({ type: "pid-changed", name: plan.name });
      if (wanted) crashed(current, how);
    });
    return current;
  }

  function crashed(dead: Run, how: string): void {
    crashesInARow = performance.now() - dead.startedAtMs > healthyAfterMs ? 1 : crashesInARow + 1;
    const restartInMs = options.restart ? restartDelayMs(crashesInARow) : null;
    options.onEvent({ type: "crashed", name: plan.name, how, restartInMs, lastLines: dead.lastWords() });
    if (restartInMs === null) return;
    setTimeout(() => {
      if (!wanted || run !== null) return;
      const again = begin();
      waitUntilReady(again).then(
        () => options.onEvent({ type: "restarted", name: plan.name }),
        () => signalGroup(again.pid, "SIGKILL"),
      );
    }, restartInMs).unref();
  }

  return {
    name: plan.name,
    pid: () => run?.pid ?? null,
    async start() {
      if (run !== null) return;
      const current = begin();
      try {
        await waitUntilReady(current);
      } catch (error) {
        signalGroup(current.pid, "SIGKILL");
        await current.exited;
        throw error;
      }
      wanted = true;
      // It may have died between its last readiness check and here.
      if (run !== current) throw new Error(`${plan.name} stopped (${await current.exited})`);
    },
    async stop(graceMs = 8_000) {
      wanted = false;
      const current = run;
      if (current === null) return;
      current.process.kill("SIGTERM");
      const timer = setTimeout(() => signalGroup(current.pid, "SIGKILL"), graceMs);
      await current.exited;
      clearTimeout(timer);
      signalGroup(current.pid, "SIGKILL");
      while (groupMembers(current.pid).length > 0) await sleep(10);
    },
    killNow() {
      wanted = false;
      if (run !== null) signalGroup(run.pid, "SIGKILL");
    },
  };
}
