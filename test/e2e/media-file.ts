/** What a media file is, told by ffprobe, by ffmpeg's decoder, and by its own bytes. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";

const exec = promisify(execFile);
const processTimeoutMs = 120_000;

const Probe = z.object({
  format: z.object({ duration: z.coerce.number() }),
  streams: z.array(
    z.looseObject({
      codec_type: z.string(),
      codec_name: z.string().optional(),
      width: z.int().optional(),
      height: z.int().optional(),
      duration: z.coerce.number().optional(),
      nb_read_frames: z.coerce.number().optional(),
    }),
  ),
});

export interface MediaFacts {
  durationSeconds: number;
  video: { codec: string; width: number; height: number; durationSeconds: number; frames: number };
  audio: { codec: string; durationSeconds: number } | null;
}

/** Decodes every frame to count it: what a header claims is not believed. */
export async function probeMedia(file: string): Promise<MediaFacts> {
  const { stdout } = await exec(
    "ffprobe",
    ["-v", "error", "-count_frames", "-show_format", "-show_streams", "-of", "json", file],
    { timeout: processTimeoutMs },
  );
  const { format, streams } = Probe.parse(JSON.parse(stdout));
  const video = streams.find((stream) => stream.codec_type === "video");
  const audio = streams.find((stream) => stream.codec_type === "audio");
  if (video === undefined) throw new Error(`${file} has no video`);
  return {
    durationSeconds: format.duration,
    video: {
      codec: video.codec_name ?? "",
      width: video.width ?? 0,
      height: video.height ?? 0,
      durationSeconds: video.duration ?? format.duration,
      frames: video.nb_read_frames ?? 0,
    },
    audio:
      audio === undefined
        ? null
        : { codec: audio.codec_name ?? "", durationSeconds: audio.duration ?? format.duration },
  };
}

/** Decodes a file or URL to its end. @returns what the decoder complained about: nothing, for a sound file */
export async function decodingErrors(fileOrUrl: string): Promise<string> {
  const { stderr } = await exec("ffmpeg", ["-v", "error", "-nostdin", "-xerror", "-i", fileOrUrl, "-f", "null", "-"], {
    timeout: processTimeoutMs,
  });
  return stderr.trim();
}

export interface Box {
  type: string;
  offset: number;
  sizeBytes: number;
}

/** The top-level boxes, or with a range those inside a container box. @throws when they do not end with the bytes */
export function boxesOf(bytes: Buffer, from = 0, to = bytes.length): Box[] {
  const boxes: Box[] = [];
  let offset = from;
  while (offset < to) {
    const short = bytes.readUInt32BE(offset);
    const sizeBytes = short === 1 ? Number(bytes.readBigUInt64BE(offset + 8)) : short;
    const type = bytes.toString("latin1", offset + 4, offset + 8);
    if (sizeBytes < 8 || offset + sizeBytes > to) throw new Error(`box ${type} at ${offset} does not fit`);
    boxes.push({ type, offset, sizeBytes });
    offset += sizeBytes;
  }
  return boxes;
}

export function childBoxes(bytes: Buffer, { offset, sizeBytes }: Box): Box[] {
  return boxesOf(bytes, offset + 8, offset + sizeBytes);
}
