/** Measures a finished rendition: its tracks and tags, its picture's means, and which tones are heard on which side. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";
import { probeJson } from "./ffmpeg-clip.ts";

const exec = promisify(execFile);
const RATE_HZ = 48_000;
/** The sources' tones have 0.2; a downmix halves some of them. */
const HEARD_AMPLITUDE = 0.03;
const SILENT_AMPLITUDE = 0.01;

const Track = z.object({
  codec_type: z.string(),
  codec_name: z.string().optional(),
  width: z.number().optional(),
  height: z.number().optional(),
  sample_aspect_ratio: z.string().optional(),
  pix_fmt: z.string().optional(),
  r_frame_rate: z.string().optional(),
  field_order: z.string().optional(),
  color_range: z.string().optional(),
  color_space: z.string().optional(),
  color_primaries: z.string().optional(),
  color_transfer: z.string().optional(),
  channels: z.number().optional(),
  sample_rate: z.string().optional(),
  start_time: z.string().optional(),
  side_data_list: z.array(z.unknown()).optional(),
  tags: z.record(z.string(), z.string()).optional(),
});
const Packet = z.object({ codec_type: z.string(), pts_time: z.string(), flags: z.string() });
const Probed = z.object({
  streams: z.array(Track),
  packets: z.array(Packet),
  chapters: z.array(z.unknown()),
  format: z.object({ duration: z.string() }),
});

export type RenditionLook = Awaited<ReturnType<typeof lookAt>>;

export async function lookAt(file: string, ffprobePath = "ffprobe") {
  const shown = "-show_streams -show_format -show_packets -show_chapters".split(" ");
  const { streams, packets, chapters, format } = Probed.parse(await probeJson(file, shown, ffprobePath));
  const pictures = packets.filter(({ codec_type }) => codec_type === "video");
  return {
    video: streams.find(({ codec_type }) => codec_type === "video"),
    audio: streams.find(({ codec_type }) => codec_type === "audio"),
    tracks: streams.length,
    chapters: chapters.length,
    timecode: streams.find(({ tags }) => tags?.timecode)?.tags?.timecode,
    frames: pictures.length,
    shownSeconds: pictures.map(({ pts_time }) => Number(pts_time)).toSorted((a, b) => a - b),
    keyframeSeconds: pictures.filter(({ flags }) => flags.startsWith("K")).map(({ pts_time }) => Number(pts_time)),
    seconds: Number(format.duration),
  };
}

export type Means = {
  y: number;
  u: number;
  v: number;
  yLow: number;
  yHigh: number;
  saturation: number;
  interlaced: number;
};

/** Averages over all frames, and how many of them show the combs of woven fields. */
export async function meansOf(input: readonly string[], filter = "null"): Promise<Means> {
  const measure = ["-vf", `${filter},idet,signalstats,metadata=print:file=-`, "-f", "null", "-"];
  const { stdout } = await exec("ffmpeg", ["-v", "error", ...input, ...measure], { maxBuffer: 64 * 1024 * 1024 });
  const all = (key: string) =>
    [...stdout.matchAll(new RegExp(`^lavfi\\.${key}=([\\d.]+)`, "gm"))].map((m) => Number(m[1]));
  const mean = (key: string) => {
    const values = all(`signalstats.${key}`);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const last = (key: string) => all(`idet.multiple.${key}`).at(-1) ?? 0;
  return {
    ...{ y: mean("YAVG"), u: mean("UAVG"), v: mean("VAVG"), yLow: mean("YLOW"), yHigh: mean("YHIGH") },
    saturation: mean("SATAVG"),
    interlaced: last("tff") + last("bff"),
  };
}

export type Heard = {
  left: number[];
  right: number[];
  startsSeconds: number;
  /** Of full scale, over all of the sound. */
  peak: number;
  /** Of full scale, left and right. */
  amplitudesOf: (hertz: number) => [left: number, right: number];
};

/** When each click of a mono sound begins: none within half a second of the one before. */
export async function clicksOf(file: string): Promise<number[]> {
  const decode = `-map 0:a:0 -ac 1 -ar ${RATE_HZ} -f f32le -`.split(" ");
  const options = { encoding: "buffer", maxBuffer: 64 * 1024 * 1024 } as const;
  const { stdout } = await exec("ffmpeg", ["-v", "error", "-i", file, ...decode], options);
  const samples = new Float32Array(stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.byteLength));
  const clicks: number[] = [];
  for (const [i, value] of samples.entries()) {
    const at = i / RATE_HZ;
    if (Math.abs(value) > 0.15 && at > (clicks.at(-1) ?? Number.NEGATIVE_INFINITY) + 0.5) clicks.push(at);
  }
  return clicks;
}

/** Throws on a tone that is neither clearly there nor clearly absent. */
export async function listenTo(file: string, hertz: readonly number[]): Promise<Heard> {
  const decode = "-map 0:a:0 -af aresample=48000:async=1:first_pts=0 -f f32le -".split(" ");
  const options = { encoding: "buffer", maxBuffer: 64 * 1024 * 1024 } as const;
  const { stdout } = await exec("ffmpeg", ["-v", "error", "-i", file, ...decode], options);
  const all = new Float32Array(stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.byteLength));
  const side = (index: number) => all.filter((_, i) => i % 2 === index);
  const [left, right] = [side(0), side(1)];
  const first = left.findIndex((value, i) => Math.abs(value) + Math.abs(right[i] ?? 0) > 0.05);
  // After the tone's onset, and less than the shortest sound.
  const from = Math.max(0, first) + 4_800;
  const sides = [left, right].map((samples) => samples.subarray(from, from + 16_000));
  const amplitudesOf = (each: number) => sides.map((samples) => amplitudeAt(samples, each)) as [number, number];
  const tones = hertz.map((each) => [each, ...amplitudesOf(each)] as const);
  return {
    left: heardOf(tones.map(([each, amplitude]) => [each, amplitude])),
    right: heardOf(tones.map(([each, , amplitude]) => [each, amplitude])),
    startsSeconds: first / RATE_HZ,
    peak: all.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
    amplitudesOf,
  };
}

function heardOf(tones: readonly (readonly [hertz: number, amplitude: number])[]): number[] {
  const heard = tones.filter(([each, amplitude]) => {
    if (amplitude > SILENT_AMPLITUDE && amplitude < HEARD_AMPLITUDE) {
      throw new Error(`${each} Hz is neither heard nor absent: ${amplitude.toFixed(4)}`);
    }
    return amplitude >= HEARD_AMPLITUDE;
  });
  return heard.map(([each]) => each);
}

function amplitudeAt(samples: Float32Array, hertz: number): number {
  let [re, im] = [0, 0];
  samples.forEach((value, i) => {
    const angle = (2 * Math.PI * hertz * i) / RATE_HZ;
    re += value * Math.cos(angle);
    im += value * Math.sin(angle);
  });
  return (2 * Math.hypot(re, im)) / samples.length;
}
