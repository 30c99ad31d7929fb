/**
 * When a written file is safe: at once in a plain folder (it was synced), or when LucidLink has nothing left to upload.
 * The lucid command line is built and its output read apart from its being run. Not yet run against a real filespace.
 */
import { execFile } from "node:child_process";
import { AgentFailure } from "./failure.ts";

export interface DurabilityProbe {
  /** Whether everything written before the call is durable. @throws AgentFailure when that cannot be told. */
  allDurable(signal: AbortSignal): Promise<boolean>;
}

export const plainFolder: DurabilityProbe = { allDurable: async () => true };

export interface LucidCommand {
  file: string;
  args: readonly string[];
}

export function lucidStatusCommand(settings: { binary: string; instanceId: string | null }): LucidCommand {
  const instance = settings.instanceId === null ? [] : ["--instance", settings.instanceId];
  return { file: settings.binary, args: [...instance, "status"] };
}

const remainingUpload = /^\s*Remaining upload\s*[:=]?\s*([\d.,]+)\s*(?:bytes|[KMGTPE]?i?B?)?\s*$/im;

/** @returns whether nothing remains to be uploaded; null when the output does not say, which is never taken for yes. */
export function nothingRemains(statusOutput: string): boolean | null {
  const amount = remainingUpload.exec(statusOutput)?.[1];
  return amount === undefined ? null : Number(amount.replaceAll(",", "")) === 0;
}

const timeoutMs = 20_000;
const maxOutputBytes = 1024 * 1024;

export function lucidFilespace(command: LucidCommand): DurabilityProbe {
  return {
    async allDurable(signal) {
      const output = await run(command, signal);
      const answer = nothingRemains(output);
      if (answer === null) {
        throw new AgentFailure("LUCIDLINK_UNAVAILABLE", "LucidLink's status does not tell the remaining upload.");
      }
      return answer;
    },
  };
}

function run(command: LucidCommand, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: maxOutputBytes, killSignal: "SIGKILL", signal } as const;
    execFile(command.file, command.args, options, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(new AgentFailure("LUCIDLINK_UNAVAILABLE", "LucidLink's command line gave no status.", error));
    });
  });
}
