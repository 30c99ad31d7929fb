/**
 * Rewrites an hour of all five renditions at once, as a job does, and tells how much memory that took. Run as a process of
 * its own: `node hour-of-fragments.ts CLIP`, where CLIP is a fragmented MP4 whose header is borrowed. Nothing is encoded.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { box, child, children, u32, u64, versionAndFlags } from "../mp4/box.ts";
import { moovReserveBytes, rewriteAsFaststart } from "../mp4/faststart.ts";

const HOUR_SECONDS = 3600;
const FPS = 60;
/** In the timescale that ffmpeg gives a track of 60 frames a second. */
const FRAME_TICKS = 256;
const GOP_SECONDS = 2;
/** About half of the ladder's caps, which is what constant quality comes to. */
const VIDEO_BPS = [400_000, 800_000, 1_500_000, 3_000_000, 9_000_000];
const AUDIO_SAMPLE_BYTES = 340;
const PART_BYTES = 8 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const STORE_MS = 20;

async function* fragments(opening: Uint8Array, videoBps: number): AsyncGenerator<Uint8Array, void, undefined> {
  yield opening;
  let audioSamples = 0;
  for (let i = 0; i < HOUR_SECONDS / GOP_SECONDS; i++) {
    const frameBytes = Array.from({ length: FPS * GOP_SECONDS }, (_, n) => frameSize(videoBps, i, n));
    const audioEnd = Math.floor(((i + 1) * GOP_SECONDS * 48_000) / 1024);
    const audioBytes = Array.from({ length: audioEnd - audioSamples }, (_, n) => AUDIO_SAMPLE_BYTES + ((i + n) % 7));
    const moof = fragment(i, frameBytes, audioBytes, audioSamples);
    audioSamples = audioEnd;
    const payloadBytes = [...frameBytes, ...audioBytes].reduce((sum, bytes) => sum + bytes, 0);
    yield moof;
    const header = new Uint8Array(box("mdat"));
    new DataView(header.buffer).setUint32(0, payloadBytes + 8);
    yield header;
    for (let left = payloadBytes; left > 0; left -= CHUNK_BYTES) {
      // New memory every time, as a socket gives.
      yield new Uint8Array(Math.min(left, CHUNK_BYTES));
    }
  }
}

function frameSize(videoBps: number, gop: number, n: number): number {
  const mean = videoBps / 8 / FPS;
  return Math.floor(n === 0 ? mean * 12 : mean * (0.5 + ((gop * 31 + n * 17) % 80) / 100));
}

function fragment(index: number, frameBytes: number[], audioBytes: number[], audioBefore: number): Uint8Array {
  const build = (moofBytes: number) => {
    const videoBytes = frameBytes.reduce((sum, bytes) => sum + bytes, 0);
    // Sizes, flags and composition offsets of frames; of sound, sizes alone.
    const frames = frameBytes.flatMap((bytes, n) => [
      bytes,
      n === 0 ? 0x0200_0000 : 0x0101_0000,
      ((n % 3) + 1) * FRAME_TICKS,
    ]);
    const video = box("trun", versionAndFlags(0, 0xe01), u32(frameBytes.length, moofBytes + 8, ...frames));
    const audio = box(
      "trun",
      versionAndFlags(0, 0x201),
      u32(audioBytes.length, moofBytes + 8 + videoBytes, ...audioBytes),
    );
    return box(
      "moof",
      box("mfhd", u32(0, index + 1)),
      box("traf", trackHeader(1, FRAME_TICKS), decodeTime(index * frameBytes.length * FRAME_TICKS), video),
      box("traf", trackHeader(2, 1024), decodeTime(audioBefore * 1024), audio),
    );
  };
  return build(build(0).length);
}

/** Samples count from the moof, and all last as long. */
const trackHeader = (id: number, duration: number) => box("tfhd", versionAndFlags(0, 0x2_0008), u32(id, duration));
const decodeTime = (ticks: number) => box("tfdt", versionAndFlags(1), u64(ticks));

async function rewriteHour(opening: Uint8Array, videoBps: number) {
  let storing: Promise<unknown> = Promise.resolve();
  const reserveBytes = moovReserveBytes({
    frames: HOUR_SECONDS * FPS,
    durationSeconds: HOUR_SECONDS,
    fragments: HOUR_SECONDS / GOP_SECONDS + 1,
  });
  const { file, excerpt } = await rewriteAsFaststart(fragments(opening, videoBps), {
    partSizeBytes: PART_BYTES,
    reserveBytes,
    emit: async (part) => {
      await storing;
      storing = wait(STORE_MS, part.bytes.length);
    },
  });
  await storing;
  const keptBytes = excerpt.pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  return { ...file, keptBytes, groups: excerpt.groups.length };
}

const boxes = children(await readFile(process.argv[2] ?? ""));
const opening = new Uint8Array(Buffer.concat([child(boxes, "ftyp").bytes, child(boxes, "moov").bytes]));
const files = await Promise.all(VIDEO_BPS.map((videoBps) => rewriteHour(opening, videoBps)));
process.stdout.write(JSON.stringify({ peakBytes: process.resourceUsage().maxRSS * 1024, files }));
