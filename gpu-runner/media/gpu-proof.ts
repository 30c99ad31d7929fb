/**
 * Whether a command that decodes, scales and encodes on the card works for a source: half a second of it is made with
 * exactly that command, into nothing. Listing codecs proves nothing, as with the encoder.
 */
import { execFile } from "node:child_process";
import { type EncodeCommand, toArguments } from "./encode-command.ts";
import { isSessionLimit } from "./encoder-probe.ts";

const PROOF_SECONDS = "0.5";
const PROOF_TIMEOUT_MS = 30_000;

/** The same decode, graph and encode, cut short, and muxed into nothing. */
export function proofCommand(command: EncodeCommand): EncodeCommand {
  const outputs = command.outputs.map(({ options }) => {
    const container = options.indexOf("-movflags");
    return { options: [...options.slice(0, container), "-t", PROOF_SECONDS, "-f", "null"], target: "-" };
  });
  return { ...command, outputs };
}

/** null when it worked, else why not. Throws only the signal's reason. */
export async function proveOnGpu(
  command: EncodeCommand,
  ffmpegPath: string,
  signal: AbortSignal,
): Promise<string | null> {
  signal.throwIfAborted();
  const why = await new Promise<string | null>((resolve) => {
    execFile(
      ffmpegPath,
      toArguments(proofCommand(command)),
      { timeout: PROOF_TIMEOUT_MS, killSignal: "SIGKILL", signal },
      (error, _stdout, stderr) => {
        if (error?.killed) resolve("it did not end in its time");
        else resolve(judgeProof(error === null, stderr));
      },
    );
  });
  signal.throwIfAborted();
  return why;
}

/** ffmpeg goes on by decoding on the CPU where NVDEC refuses, and says so in passing: then nothing is gained. */
export function judgeProof(endedWell: boolean, stderr: string): string | null {
  const lines = stderr
    .split("\n")
    .filter((line) => line.trim() !== "" && !/^[a-z][a-z0-9_]*=\s*\S*$/.test(line.trim()));
  const fallback = lines.find((line) =>
    /hwaccel initiali[sz]ation returned error|Failed setup for format cuda/.test(line),
  );
  if (fallback !== undefined) return fallback.trim().slice(0, 200);
  if (!endedWell) return (lines.find(isSessionLimit) ?? lines.at(-1) ?? "no message").trim().slice(0, 200);
  const frames = [...stderr.matchAll(/^frame=\s*(\d+)/gm)].map(([, count]) => Number(count));
  return Math.max(0, ...frames) > 0 ? null : "no frame came out";
}
