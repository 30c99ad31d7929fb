/** Runs ffprobe on the original (through the proxy) and reads what it says. */
import { spawn } from "node:child_process";
import { FfprobeOutput, type ProbeRejectionCode, readProbe, type SourceProbe } from "../../schemas/media-probe.ts";
import { choosePicture } from "../../schemas/picture-track.ts";
import { SOURCE_LIMITS } from "./encode-command.ts";
import { EncodeError } from "./encode-failure.ts";
import { HEAD_BYTES, recogniseHead } from "./file-head.ts";

export type ProbeResult =
  | { ok: true; source: SourceProbe }
  | { ok: false; code: ProbeRejectionCode | "TRUNCATED" | "PROBE_TIMEOUT"; message: string };

export type ProbeOptions = { ffprobePath: string; url: string; timeoutMs: number; signal: AbortSignal };

/** ffprobe's JSON is some kB; a file with thousands of tags stays far below this. */
const MAX_OUTPUT_CHARS = 16 * 1024 * 1024;

/** The first packets say whether they are encrypted, which no stream does. */
const DESCRIBE = "-of json -show_format -show_streams -show_programs -show_packets -read_intervals %+#8".split(" ");

export async function probeSource(options: ProbeOptions): Promise<ProbeResult> {
  const described = await runFfprobe(options, DESCRIBE);
  if (described.timedOut) return timedOut();
  const reading = described.code === 0 ? readProbe(parseJson(described.stdout)) : explainFfprobe(described.stderr);
  if (reading.ok) return reading;
  if (reading.code !== "NO_DURATION") return await inBetterWords(options, reading);

  // The container does not say how long it is, so its packets must: the whole file is read once more.
  const measured = await measureDuration(options, pictureIndexIn(described.stdout));
  return measured === "timed-out" ? timedOut() : readProbe(parseJson(described.stdout), measured);
}

/** ffprobe sees a damaged film in whatever resembles one; the first bytes may say that it never was a film. */
async function inBetterWords({ url, signal }: ProbeOptions, reading: ProbeResult): Promise<ProbeResult> {
  const response = await fetch(url, { headers: { range: `bytes=0-${HEAD_BYTES - 1}` }, signal }).catch(() => null);
  // What the store does not deliver, the proxy reports.
  if (!response) return reading;
  const head = response.status === 416 ? new Uint8Array() : await response.bytes().catch(() => null);
  const known = head && recogniseHead(head);
  return known ? { ok: false, ...known } : reading;
}

function timedOut(): ProbeResult {
  return { ok: false, code: "PROBE_TIMEOUT", message: "Reading the file's description took too long." };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function explainFfprobe(stderr: string): ProbeResult {
  if (/moov atom not found/i.test(stderr)) {
    const message = "The file is cut off: its index (moov) is missing. The recording or the upload did not finish.";
    return { ok: false, code: "TRUNCATED", message };
  }
  return {
    ok: false,
    code: "INVALID_MEDIA",
    message: "The file is not media that can be read, whatever its name says.",
  };
}

function pictureIndexIn(described: string): number | undefined {
  const parsed = FfprobeOutput.safeParse(parseJson(described));
  return parsed.success ? choosePicture(parsed.data)?.video.index : undefined;
}

async function measureDuration(options: ProbeOptions, pictureIndex = 0): Promise<number | undefined | "timed-out"> {
  let end = 0;
  let rest = "";
  const readLines = (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [pts, duration] = line.split(",").map(Number.parseFloat);
      if (pts !== undefined && Number.isFinite(pts))
        end = Math.max(end, pts + (Number.isFinite(duration) ? (duration ?? 0) : 0));
    }
  };
  const args = [
    "-of",
    "csv=p=0",
    "-select_streams",
    String(pictureIndex),
    "-show_entries",
    "packet=pts_time,duration_time",
  ];
  // An hour-long original at a store's pace; a stall is the proxy's to notice.
  const { timedOut: late } = await runFfprobe({ ...options, timeoutMs: options.timeoutMs * 30 }, args, readLines);
  if (late) return "timed-out";
  return end > 0 ? end : undefined;
}

type FfprobeRun = { code: number | null; stdout: string; stderr: string; timedOut: boolean };

/**
 * Output goes to `onOutput` where one is given, and is kept otherwise. Throws the signal's reason when aborted, and when
 * ffprobe crashed or somebody else killed it, as a system does that is short of memory: that says nothing of the file,
 * which another build or another machine may well read.
 */
async function runFfprobe(
  { ffprobePath, url, timeoutMs, signal }: ProbeOptions,
  args: string[],
  onOutput?: (text: string) => void,
): Promise<FfprobeRun> {
  signal.throwIfAborted();
  const child = spawn(ffprobePath, ["-hide_banner", "-v", "error", ...SOURCE_LIMITS, ...args, url], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const run: FfprobeRun = { code: null, stdout: "", stderr: "", timedOut: false };
  let killedByUs = false;
  const kill = () => {
    killedByUs = true;
    child.kill("SIGKILL");
  };
  const timer = setTimeout(() => {
    run.timedOut = true;
    kill();
  }, timeoutMs);
  signal.addEventListener("abort", kill);
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (onOutput) onOutput(text);
    else if (run.stdout.length < MAX_OUTPUT_CHARS) run.stdout += text;
    else kill();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    run.stderr = (run.stderr + text).slice(-16_384);
  });
  try {
    run.code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", kill);
  }
  signal.throwIfAborted();
  if (child.signalCode !== null && !killedByUs) {
    const message = `ffprobe crashed (${child.signalCode}) while it read the file's description.`;
    throw new EncodeError({ code: "RUNNER_FAILED", message, retryable: true });
  }
  return run;
}
