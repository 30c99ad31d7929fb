/** Starts `dev/start.ts` as a process of its own: tied to the caller's life, or left running in the background. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isAlive } from "./process-tree.ts";
import { readStackFile, type StackFile } from "./stack-file.ts";
import { findHolder } from "./stack-lock.ts";

export type LaunchedStack = { file: StackFile; stop(): Promise<void> };

const readyTimeoutMs = 180_000;
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The stack that runs on this directory and is ready, or null. */
export async function findRunningStack(dataDirectory: string): Promise<StackFile | null> {
  if ((await findHolder(dataDirectory)) === null) return null;
  const deadline = performance.now() + readyTimeoutMs;
  // The lock comes first and stack.json when all is ready: a start may be under way.
  while (performance.now() < deadline && (await findHolder(dataDirectory)) !== null) {
    const file = await readStackFile(dataDirectory);
    if (file !== null && Object.keys(file.pids).length > 0) return file;
    await sleep(100);
  }
  return null;
}

export async function launchStack(
  dataDirectory: string,
  options: { keep: boolean; port: number | null },
): Promise<LaunchedStack> {
  mkdirSync(join(dataDirectory, "logs"), { recursive: true, mode: 0o700 });
  const logFile = join(dataDirectory, "logs", "stack.log");
  const log = openSync(logFile, "w", 0o600);
  // The lifeline ends the stack when this process is gone, however it went; a stack that is to stay has none.
  const lifeline = options.keep ? [] : ["--import", pathToFileURL(here("lifeline.ts")).href];
  const port = options.port === null ? [] : ["--port", String(options.port)];
  const child = spawn(process.execPath, [...lifeline, here("start.ts"), "--data", dataDirectory, ...port], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
    // Not a child of `npm start`: it must not end with whoever ran it.
    env: { ...process.env, npm_lifecycle_event: "" },
  });
  closeSync(log);
  const exited = new Promise<"exited">((resolve) => child.once("exit", () => resolve("exited")));
  const ready = new Promise<"ready">((resolve) => child.once("message", () => resolve("ready")));
  const outcome = await Promise.race([ready, exited, sleep(readyTimeoutMs, "late" as const, { ref: false })]);
  const file = outcome === "ready" ? await readStackFile(dataDirectory) : null;
  if (file === null) {
    child.kill("SIGTERM");
    await exited;
    const words = (await readFile(logFile, "utf8")).trim();
    throw new Error(`The stack did not start. Its log, ${logFile}:\n${words}`);
  }
  if (options.keep) {
    child.disconnect();
    child.unref();
  }
  return {
    file,
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Waits for the end of a stack that somebody else started. */
export async function stopRunningStack(dataDirectory: string): Promise<boolean> {
  const holder = await findHolder(dataDirectory);
  if (holder === null) return false;
  process.kill(holder.pid, "SIGTERM");
  while (isAlive(holder)) await sleep(50);
  return true;
}
