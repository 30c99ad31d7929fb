/** The local stack as a process of its own on a data directory of its own: started, stopped, killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { StackFacts } from "./asset-document.ts";
import { eventually } from "./eventually.ts";
import { PipelineClient } from "./pipeline-client.ts";
import { isRunning, markedEnvironment, type ProcessFacts, processesOf, subtree } from "./process-table.ts";

const startScript = fileURLToPath(new URL("../../dev/start.ts", import.meta.url));
const readyTimeoutMs = 90_000;
const stopTimeoutMs = 30_000;

export interface StackOptions {
  /** Overrides of the default policy. */
  policy?: Record<string, unknown>;
  /** More of start.ts's own options, such as --no-agent. */
  flags?: string[];
}

export class StackProcess {
  /** Everything the stack keeps; survives `stop` and `killEverything`. */
  readonly dataDirectory: string;
  /** The stack's TMPDIR, its own, so that what grows there is known to be the stack's. */
  readonly temporaryDirectory: string;
  readonly #folder: string;
  readonly #marker = randomUUID();
  readonly #options: StackOptions;
  #supervisor: ChildProcess | null = null;
  #output = "";

  private constructor(folder: string, options: StackOptions) {
    this.#folder = folder;
    this.dataDirectory = join(folder, "data");
    this.temporaryDirectory = join(folder, "tmp");
    this.#options = options;
  }

  static async start(options: StackOptions = {}): Promise<StackProcess> {
    const folder = await mkdtemp(join(tmpdir(), "mmf-e2e-"));
    const stack = new StackProcess(folder, options);
    await mkdir(stack.temporaryDirectory);
    await stack.start();
    return stack;
  }

  /** Ready when stack.json says so. Also starts a stopped or killed stack again on the same data. */
  async start(): Promise<void> {
    if (this.#supervisor !== null) throw new Error("The stack runs already.");
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
        return await this.facts().catch(() => false);
      });
    } catch (error) {
      const output = this.#output;
      await this.killEverything();
      throw new Error(`${(error as Error).message}; it said:\n${output}`, { cause: error });
    }
  }

  /** stack.json as it is now. */
  async facts(): Promise<StackFacts> {
    return StackFacts.parse(JSON.parse(await readFile(join(this.dataDirectory, "stack.json"), "utf8")));
  }

  async client(): Promise<PipelineClient> {
    return new PipelineClient(await this.facts());
  }

  /** Every living process of the stack, the supervisor among them. */
  processes(): ProcessFacts[] {
    return processesOf(this.#marker);
  }

  /** A child by its name in stack.json, with its descendants. */
  async child(name: string): Promise<{ pid: number; processes: ProcessFacts[] }> {
    const pid = await eventually(
      { what: `${name} in stack.json`, timeoutMs: readyTimeoutMs, everyMs: 50 },
      async () => (await this.facts()).pids[name],
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

  /** For afterAll: whatever happened, no process and no file remains. */
  async destroy(): Promise<void> {
    await this.killEverything();
    await rm(this.#folder, { recursive: true, force: true });
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
