/** Runs ffprobe on the original (through the proxy) and reads what it says. */
import { spawn } from "node:child_process";
import { FfprobeOutput } from "../../schemas/ffprobe-output.ts";
import { type ProbeRejectionCode, parseRational, readProbe, type SourceProbe } from "../../schemas/media-probe.ts";
import { choosePicture, secondsOfTag } from "../../schemas/picture-track.ts";
import { SOURCE_LIMITS } from "./encode-command.ts";
import { EncodeError } from "./encode-failure.ts";
import { HEAD_BYTES, recogniseHead } from "./file-head.ts";
import { type MeasuredSource, type MeasureInput, measureSource } from "./measure/measure.ts";
import { PACKET_FIELDS } from "./measure/packet-run.ts";
import type { LengthTrust } from "./verify.ts";

export type ProbeResult =
  | {
      ok: true;
      source: SourceProbe;
      length: LengthTrust;
      /** The rate is that of its first packets; what follows may have another. */
      isSampled: boolean;
      /** The file ends where its own structure says. */
      endsAsStated: boolean;
    }
  | { ok: false; code: ProbeRejectionCode | "TRUNCATED" | "PROBE_TIMEOUT"; message: string };

export type ProbeOptions = { ffprobePath: string; url: string; timeoutMs: number; signal: AbortSignal };

/** ffprobe's JSON is some kB; a file with thousands of tags stays far below this. */
const MAX_OUTPUT_CHARS = 16 * 1024 * 1024;

/** The first packets say whether they are encrypted, which no stream does. */
const DESCRIBE = "-of json -show_format -show_streams -show_programs -show_packets -read_intervals %+#8".split(" ");

/** Sound that begins a minute into a stream has been seen; a track that says nothing of itself is looked for so far. */
const LOOK_FURTHER = "-analyzeduration 60M -probesize 200M".split(" ");

/** `extent`: how much of a source without an index is measured. */
export async function probeSource(
  options: ProbeOptions,
  extent: MeasureInput["extent"] = "sample",
): Promise<ProbeResult> {
  const described = await describe(options);
  if (described.timedOut) return timedOut();
  if (described.code !== 0) return await inBetterWords(options, explainFfprobe(described.stderr));
  const stated = readProbe(parseJson(described.stdout));
  if (!stated.ok && stated.code === "STILL_IMAGE") return (await asMotionJpeg(options)) ?? stated;
  if (!stated.ok && !MEASURED_ALL_THE_SAME.has(stated.code)) return await inBetterWords(options, stated);
  const measured = await measure(options, described.stdout, extent);
  if (measured?.missing) return cutOff(measured.missing);
  const reading = measured === null ? stated : readProbe(parseJson(described.stdout), measured);
  if (!reading.ok) return await inBetterWords(options, reading);
  const isSampled = measured !== null && !measured.isCounted;
  const length = lengthTrust(reading.source, described.stdout, measured);
  return { ...reading, length, isSampled, endsAsStated: measured?.endsAsStated ?? false };
}

/** Once more where a stream declares sound that had not begun where ffprobe stopped reading. */
async function describe(options: ProbeOptions): Promise<FfprobeRun> {
  const first = await runFfprobe(options, DESCRIBE);
  const output = FfprobeOutput.safeParse(parseJson(first.stdout)).data;
  const isUnheard = output?.streams.some(
    ({ codec_type: type, channels, sample_fmt: format }) =>
      type === "audio" && (!channels || (format ?? "unknown") === "unknown"),
  );
  if (!output || !isUnheard || !STREAMS.test(output.format.format_name)) return first;
  const further = await runFfprobe(options, [...LOOK_FURTHER, ...DESCRIBE]);
  return further.code === 0 ? further : first;
}

/** They have no index: ffprobe takes their length from their clock's first and last value, or from their bit rate. */
const STREAMS = /^(mpegts|mpeg|mpegvideo|flv|live_flv|asf|rm|h264|hevc|m4v|mjpeg|obu|ivf|dv)\b/;

function lengthTrust({ container }: SourceProbe, described: string, measured: MeasuredSource | null): LengthTrust {
  if (measured?.isCounted) return "known";
  const output = FfprobeOutput.safeParse(parseJson(described)).data;
  const video = output && choosePicture(output)?.video;
  if (STREAMS.test(container) || measured?.statesWrongLength || output?.format.duration === undefined) return "guessed";
  return (video?.duration ?? secondsOfTag(video?.tags?.DURATION)) === undefined ? "hint" : "known";
}

/** What its packets may say all the same, of a file whose headers do not. */
const MEASURED_ALL_THE_SAME: ReadonlySet<string> = new Set(["NO_DURATION", "INVALID_MEDIA"]);

function cutOff({ statedBytes, sizeBytes }: NonNullable<MeasuredSource["missing"]>): ProbeResult {
  const message = `The file is cut off: it says that it has ${statedBytes} bytes, but only ${sizeBytes} are there.`;
  return { ok: false, code: "TRUNCATED", message };
}

/** Fewer could be a picture and the thumbnails in it. */
const LEAST_JPEGS = 3;

/** Pictures one after another in a bare file look like one; null where it is one. */
async function asMotionJpeg(options: ProbeOptions): Promise<ProbeResult | null> {
  const inFormat = { ...options, inputFormat: "mjpeg" };
  const described = await runFfprobe(inFormat, DESCRIBE);
  const json = parseJson(described.stdout);
  const packets = FfprobeOutput.safeParse(json).data?.packets ?? [];
  if (described.code !== 0 || packets.length < LEAST_JPEGS) return null;
  const measured = await measure(inFormat, described.stdout, "sample");
  const reading = readProbe(json, measured);
  return reading.ok ? { ...reading, length: "guessed", isSampled: false, endsAsStated: false } : null;
}

async function measure(
  options: ProbeOptions & { inputFormat?: string },
  described: string,
  extent: MeasureInput["extent"],
): Promise<MeasuredSource | null> {
  const output = FfprobeOutput.safeParse(parseJson(described)).data;
  const video = output && choosePicture(output)?.video;
  if (output === undefined || video?.index === undefined) return null;
  const { index } = video;
  const rates = [video.r_frame_rate, video.avg_frame_rate].flatMap((text) => parseRational(text) ?? []);
  const clock = parseRational(video.time_base);
  return measureSource({
    url: options.url,
    signal: options.signal,
    extent,
    container: output.format.format_name,
    streamIndex: index,
    statedSeconds: output.format.duration ?? video.duration ?? null,
    statedRates: rates.filter(({ num, den }) => num / den <= MOST_FPS),
    tickSeconds: clock === null ? 0 : clock.num / clock.den,
    readPackets: async (intervals) => {
      const asked = ["-of", "csv=p=0", "-select_streams", String(index), "-show_entries", PACKET_FIELDS];
      const { stdout } = await runFfprobe(options, [...asked, "-read_intervals", intervals]);
      return stdout.split("\n");
    },
  });
}

/** A clock such as 1000/1 or 90000/1 is no rate. */
const MOST_FPS = 480;

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

type FfprobeRun = { code: number | null; stdout: string; stderr: string; timedOut: boolean };

/**
 * Throws the signal's reason when aborted, and when ffprobe crashed or somebody else killed it, as a system does that is short of memory: that says nothing of the file,
 * which another build or another machine may well read.
 */
async function runFfprobe(
  { ffprobePath, url, timeoutMs, signal, inputFormat }: ProbeOptions & { inputFormat?: string },
  args: string[],
): Promise<FfprobeRun> {
  signal.throwIfAborted();
  const format = inputFormat === undefined ? [] : ["-f", inputFormat];
  const child = spawn(ffprobePath, ["-hide_banner", "-v", "error", ...SOURCE_LIMITS, ...format, ...args, url], {
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
    if (run.stdout.length < MAX_OUTPUT_CHARS) run.stdout += text;
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
