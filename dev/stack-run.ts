/** The local stack as a process of its own on a data directory of its own: started, stopped, killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";
import { isRunning, markedEnvironment, type ProcessFacts, processesOf, subtree } from "./process-table.ts";
import { readStackFile, type StackFile } from "./stack-file.ts";

const startScript = fileURLToPath(new URL("start.ts", import.meta.url));
const readyTimeoutMs = 90_000;
const stopTimeoutMs = 30_000;

export interface StackRunOptions {
  /** Overrides of the default policy. */
  policy?: Record<string, unknown>;
  /** More of start.ts's own options, such as --no-agent. */
  flags?: string[];
}

export class StackRun {
  /** Everything the stack keeps; survives `stop` and `killEverything`. */
  readonly dataDirectory: string;
  /** The stack's TMPDIR, its own, so that what grows there is known to be the stack's. */
  readonly temporaryDirectory: string;
  /** Holds both. */
  readonly folder: string;
  readonly #marker = randomUUID();
  #options: StackRunOptions;
  #supervisor: ChildProcess | null = null;
  #output = "";

  /** A stack in a temporary folder of its own, not started yet. */
  constructor(options: StackRunOptions = {}) {
    this.folder = mkdtempSync(join(tmpdir(), "mmf-stack-"));
    this.dataDirectory = join(this.folder, "data");
    this.temporaryDirectory = join(this.folder, "tmp");
    this.#options = options;
    mkdirSync(this.temporaryDirectory);
  }

  /**
   * Ready when stack.json says so. Also starts a stopped or killed stack again on the same data.
   * @param options from here on instead of the ones before
   */
  async start(options: StackRunOptions = this.#options): Promise<void> {
    if (this.#supervisor !== null) throw new Error("The stack runs already.");
    this.#options = options;
    await rm(join(this.dataDirectory, "stack.json"), { force: true });
    const { policy, flags = [] } = this.#options;
    const args = ["--data", this.dataDirectory, "--port", "0", ...flags];
    if (policy !== undefined) args.push("--policy", JSON.stringify(policy));
    const supervisor = spawn(process.execPath, [startScript, ...args], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        ...markedEnvironment(this.#marker),
        TMPDIR: this.temporaryDirectory,
        // As under `npm start`: the stack stops itself when this process is killed and cannot stop it.
        npm_lifecycle_event: "start",
      },
    });
    this.#supervisor = supervisor;
    this.#output = "";
    for (const stream of [supervisor.stdout, supervisor.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
    try {
      await eventually({ what: "the stack's start", timeoutMs: readyTimeoutMs, everyMs: 50 }, async () => {
        if (supervisor.exitCode !== null) throw new Error("the stack ended");
        return await this.file().catch(() => false);
      });
    } catch (error) {
      const output = this.#output;
      await this.killEverything();
      throw new Error(`${(error as Error).message}; it said:\n${output}`, { cause: error });
    }
  }

  /** stack.json as it is now. */
  async file(): Promise<StackFile> {
    const file = await readStackFile(this.dataDirectory);
    if (file === null) throw new Error("There is no stack.json.");
    return file;
  }

  /** Every living process of the stack, the supervisor among them. */
  processes(): ProcessFacts[] {
    return processesOf(this.#marker);
  }

  /** A child by its name in stack.json, with its descendants. */
  async child(name: string): Promise<{ pid: number; processes: ProcessFacts[] }> {
    const pid = await eventually(
      { what: `${name} in stack.json`, timeoutMs: readyTimeoutMs, everyMs: 50 },
      async () => (await this.file()).pids[name],
    );
    return { pid, processes: subtree(this.processes(), pid) };
  }

  /** To one process, or with `group` to a child and all it started. */
  async signalChild(name: string, signal: NodeJS.Signals, to: "process" | "group" = "process"): Promise<number> {
    const { pid } = await this.child(name);
    process.kill(to === "group" ? -pid : pid, signal);
    return pid;
  }

  /** SIGTERM, as Ctrl-C ends it. @returns what was left running: nothing, if the stack is well made */
  async stop(): Promise<string[]> {
    const supervisor = this.#supervisor;
    if (supervisor === null) return [];
    supervisor.kill("SIGTERM");
    await eventually(
      { what: "the stack's end", timeoutMs: stopTimeoutMs, everyMs: 50 },
      () => supervisor.exitCode !== null || supervisor.signalCode !== null,
    );
    this.#supervisor = null;
    return this.processes().map(({ pid, command }) => `${pid} ${command.join(" ")}`);
  }

  /** kill -9 of every process at once, as a power cut would. */
  async killEverything(): Promise<void> {
    this.#supervisor = null;
    await eventually({ what: "the end of every process", timeoutMs: stopTimeoutMs, everyMs: 20 }, () => {
      const alive = this.processes();
      for (const { pid } of alive) if (isRunning(pid)) process.kill(pid, "SIGKILL");
      return alive.length === 0;
    });
  }

  /** The synchronous way out of a dying process. */
  readonly killNow = (): void => {
    for (const { pid } of this.processes()) if (isRunning(pid)) process.kill(pid, "SIGKILL");
  };

  /** For afterAll: whatever happened, no process and no file remains. */
  async destroy(): Promise<void> {
    await this.killEverything();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A child's log so far. */
  log(name: string): string {
    return readFileSync(join(this.dataDirectory, "logs", `${name}.log`), "utf8");
  }

  /** What the supervisor printed since its last start. */
  output(): string {
    return this.#output;
  }
}
