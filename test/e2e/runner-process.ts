/** A gpu-runner of a stack as a process of its own, started by the test with what stack.json says: to be killed at will. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { StackProcess } from "./stack-process.ts";

const entry = fileURLToPath(new URL("../../gpu-runner/main.ts", import.meta.url));

const LogLine = z.looseObject({ msg: z.string(), fileId: z.string().optional() });
export type LogLine = z.infer<typeof LogLine>;

export class RunnerProcess {
  readonly exited: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcess;
  /** What it has logged so far. */
  readonly lines: LogLine[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.exited = once(child, "exit").then(([code, signal]) => signal ?? code);
    let rest = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const whole = (rest + text).split("\n");
      rest = whole.pop() ?? "";
      for (const line of whole) this.lines.push(LogLine.parse(JSON.parse(line)));
    });
  }

  /** It bears the stack's mark, so that it and its ffmpeg count among the stack's processes. */
  static async start(
    stack: StackProcess,
    runnerId: string,
    args: string[] = [],
    variables: Record<string, string> = {},
  ): Promise<RunnerProcess> {
    const { api, tokens } = await stack.facts();
    const [worker] = (await stack.child("worker")).processes;
    const child = spawn(process.execPath, [entry, "--poll-ms", "200", ...args], {
      stdio: ["pipe", "pipe", "ignore"],
      env: {
        ...worker?.environment,
        MMF_API_URL: api,
        MMF_RUNNER_TOKEN: tokens.runner,
        MMF_RUNNER_ID: runnerId,
        FFMPEG_ENCODER: "x264",
        // A test that is broken off leaves no runner behind.
        MMF_EXIT_WITH_PARENT: "1",
        ...variables,
      },
    });
    return new RunnerProcess(child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Files whose jobs it has claimed and not ended. */
  busyWith(): string[] {
    const ended = new Set(this.lines.flatMap(({ msg, fileId }) => (/^job /.test(msg) && fileId ? [fileId] : [])));
    const claimed = this.lines.flatMap(({ msg, fileId }) => (msg === "claimed" && fileId ? [fileId] : []));
    return claimed.filter((fileId) => !ended.has(fileId));
  }
}
