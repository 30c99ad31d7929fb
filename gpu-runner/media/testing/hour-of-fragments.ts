/**
 * Stands in for an ffmpeg that makes an hour of all five renditions: reads its input to the end, and meanwhile writes their
 * fragments into the sockets of an encode's command line, as fast as they are taken. `node hour-of-fragments.ts CLIP ...`,
 * where CLIP is a fragmented MP4 whose header is borrowed, and the rest is ffmpeg's. Nothing is encoded.
 */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { box, child, children, u32, u64, versionAndFlags } from "../mp4/box.ts";

const HOUR_SECONDS = 3600;
const FPS = 60;
/** In the timescale that ffmpeg gives a track of 60 frames a second. */
const FRAME_TICKS = 256;
const GOP_SECONDS = 2;
const FRAGMENT_SECONDS = 0.5;
/** About half of the ladder's caps, which is what constant quality comes to. */
const VIDEO_BPS = [400_000, 800_000, 1_500_000, 3_000_000, 9_000_000];
const AUDIO_SAMPLE_BYTES = 340;
/** More than a fragment has, of any rendition. */
const PAYLOAD = new Uint8Array(2 * 1024 * 1024);

function fragmentOf(videoBps: number, index: number): { moof: Uint8Array; payloadBytes: number } {
  const soundBefore = soundSamplesIn(index * FRAGMENT_SECONDS);
  const frameBytes = Array.from({ length: FPS * FRAGMENT_SECONDS }, (_, n) => frameSize(videoBps, index, n));
  const audioBytes = Array.from(
    { length: soundSamplesIn((index + 1) * FRAGMENT_SECONDS) - soundBefore },
    (_, n) => AUDIO_SAMPLE_BYTES + ((index + n) % 7),
  );
  const payloadBytes = [...frameBytes, ...audioBytes].reduce((sum, bytes) => sum + bytes, 0);
  return { moof: fragment(index, frameBytes, audioBytes, soundBefore), payloadBytes };
}

const soundSamplesIn = (seconds: number) => Math.floor((seconds * 48_000) / 1024);

/** Only a group's first frame is a keyframe, and groups begin with a fragment. */
const isKeyframe = (index: number, n: number) => n === 0 && (index * FRAGMENT_SECONDS) % GOP_SECONDS === 0;

function frameSize(videoBps: number, index: number, n: number): number {
  const mean = videoBps / 8 / FPS;
  return Math.floor(isKeyframe(index, n) ? mean * 12 : mean * (0.5 + ((index * 31 + n * 17) % 80) / 100));
}

function fragment(index: number, frameBytes: number[], audioBytes: number[], audioBefore: number): Uint8Array {
  const build = (moofBytes: number) => {
    const videoBytes = frameBytes.reduce((sum, bytes) => sum + bytes, 0);
    // Sizes, flags and composition offsets of frames; of sound, sizes alone.
    const frames = frameBytes.flatMap((bytes, n) => [
      bytes,
      isKeyframe(index, n) ? 0x0200_0000 : 0x0101_0000,
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

async function write(socket: Socket, bytes: Uint8Array): Promise<void> {
  if (!socket.write(bytes)) await once(socket, "drain");
}

const [clip = "", ...command] = process.argv.slice(2);
const boxes = children(await readFile(clip));
const opening = new Uint8Array(Buffer.concat([child(boxes, "ftyp").bytes, child(boxes, "moov").bytes]));
const paths = command.filter((argument) => argument.startsWith("unix:")).map((target) => target.slice("unix:".length));
const sockets = paths.map((path) => connect(path));
await Promise.all(sockets.map((socket) => write(socket, opening)));
const fragments = HOUR_SECONDS / FRAGMENT_SECONDS;
const original = await fetch(command[command.indexOf("-i") + 1] ?? "");
const originalBytes = Number(original.headers.get("content-length"));
const reader = original.body?.getReader();
let readBytes = 0;
for (let index = 0; index < fragments; index++) {
  while (readBytes < (originalBytes * (index + 1)) / fragments) {
    const { done = true, value } = (await reader?.read()) ?? {};
    if (done) throw new Error(`the input ended after ${readBytes} of ${originalBytes} bytes`);
    readBytes += value?.length ?? 0;
  }
  // All in step, as ffmpeg does it.
  for (const [i, socket] of sockets.entries()) {
    const { moof, payloadBytes } = fragmentOf(VIDEO_BPS[i] ?? 0, index);
    const header = new Uint8Array(box("mdat"));
    new DataView(header.buffer).setUint32(0, payloadBytes + 8);
    await write(socket, moof);
    await write(socket, header);
    await write(socket, PAYLOAD.subarray(0, payloadBytes));
  }
}
for (const socket of sockets) socket.end();
