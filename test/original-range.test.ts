/**
 * Time ranges of originals, against ffmpeg: what is decoded from a sparse file that holds nothing but the ranges told is,
 * frame by frame, what is decoded from the whole. And whatever the index says, it ends with ranges or a reason.
 */
import { execFile } from "node:child_process";
import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { lacking, type Need } from "../gpu-runner/media/testing/ffmpeg-ability.ts";
import { parseMovie } from "../workers/render/movie-index.ts";
import { rangesOfOriginal } from "../workers/render/original-range.ts";
import { merged, spansOfTime } from "../workers/render/sample-span.ts";
import { WholeOnly } from "../workers/render/whole-reason.ts";

const run = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-range-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const ffmpeg = (...args: string[]) =>
  run("ffmpeg", ["-v", "fatal", "-nostdin", "-y", ...args], { timeout: 120_000, maxBuffer: 64 * 1024 * 1024 });

async function make(name: string, seconds: number, ...codec: string[]): Promise<string> {
  const file = join(folder, name);
  const picture = `testsrc2=size=320x180:rate=25:duration=${seconds}`;
  const sound = `sine=frequency=440:sample_rate=48000:duration=${seconds}`;
  await ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, ...codec, file);
  return file;
}

async function readerOf(file: string) {
  const handle = await open(file);
  const sizeBytes = (await handle.stat()).size;
  let readBytes = 0;
  return {
    sizeBytes,
    readBytes: () => readBytes,
    close: () => handle.close(),
    async read({ from, to }: { from: number; to: number }) {
      const bytes = new Uint8Array(to - from + 1);
      await handle.read(bytes, 0, bytes.length, from);
      readBytes += bytes.length;
      return bytes;
    },
  };
}

/** Zeros everywhere but in the ranges. */
async function sparse(file: string, ranges: readonly { from: number; to: number }[]): Promise<string> {
  const copy = `${file}.sparse${file.slice(file.lastIndexOf("."))}`;
  const [from, to] = [await open(file), await open(copy, "w")];
  await to.truncate((await stat(file)).size);
  for (const range of ranges) {
    const bytes = new Uint8Array(range.to - range.from + 1);
    await from.read(bytes, 0, bytes.length, range.from);
    await to.write(bytes, 0, bytes.length, range.from);
  }
  await Promise.all([from.close(), to.close()]);
  return copy;
}

/** Behind the ranges lie zeros, which ffmpeg reads to the file's end for a frame that would tell it that it is done. */
async function decoded(file: string, kind: "v" | "aac" | "pcm", start: number, end: number): Promise<string> {
  // Compressed sound as packets: its decoder makes up noise from all that it has decoded before.
  const only = { v: ["-an"], aac: ["-vn", "-c:a", "copy"], pcm: ["-vn"] }[kind];
  const span = ["-ss", `${start}`, "-t", `${end - start}`];
  return (await ffmpeg("-max_error_rate", "1", ...span, "-i", file, ...only, "-f", "framemd5", "-")).stdout;
}

const x264 = ["-c:v", "libx264", "-preset", "fast", "-g", "50", "-bf", "3", "-pix_fmt", "yuv420p"];
const originals: readonly (readonly [name: string, codec: string[], needs?: Need[]])[] = [
  ["b-frames.mp4", [...x264, "-c:a", "aac", "-movflags", "+faststart"]],
  ["index-last.mov", [...x264, "-c:a", "pcm_s16le"]],
  ["open-gop.mov", [...x264, "-x264-params", "open-gop=1", "-c:a", "aac"]],
  ["intra.mov", ["-c:v", "prores_ks", "-profile:v", "0", "-c:a", "pcm_s24le", "-timecode", "10:00:00:00"]],
  ["late-sound.mp4", [...x264, "-c:a", "aac", "-bsf:a", "setts=pts=PTS+24000:dts=DTS+24000"], ["bsf:setts"]],
  ["silent.mp4", [...x264, "-an"]],
];

test.for(originals)(
  "%s: segments from ranges alone are frame for frame the whole file's",
  { timeout: 180_000 },
  async ([name, codec, needs], { skip }) => {
    const reason = await lacking(needs ?? []);
    skip(reason !== null, reason ?? "");
    const file = await make(name, 12, ...codec);
    const reader = await readerOf(file);
    const timeRanges = [
      { startSeconds: 0, endSeconds: 2 },
      { startSeconds: 5.2, endSeconds: 7.36 },
      { startSeconds: 10, endSeconds: 12 },
    ];
    const { wholeBecause, header, segments, grantedBytes } = await rangesOfOriginal(
      reader.read,
      reader.sizeBytes,
      timeRanges,
    );
    await reader.close();
    expect(wholeBecause).toBeNull();
    expect(grantedBytes).toBeLessThan(reader.sizeBytes);
    // Its index and a few headers, never the media.
    expect(reader.readBytes()).toBeLessThan(100_000);
    for (const { startSeconds, endSeconds, ranges } of segments) {
      expect(ranges).toEqual(merged(ranges.map((span) => ({ ...span }))));
      const part = await sparse(file, [...header, ...ranges]);
      const sound = codec.includes("aac") ? "aac" : "pcm";
      const kinds = codec.includes("-an") ? (["v"] as const) : (["v", sound] as const);
      for (const kind of kinds) {
        const expected = await decoded(file, kind, startSeconds, endSeconds);
        expect(expected.split("\n").length).toBeGreaterThan(15);
        expect(await decoded(part, kind, startSeconds, endSeconds), `${kind} from ${startSeconds}`).toBe(expected);
      }
    }
  },
);

test.each([
  ["fragments", "fragmented", "fragmented.mp4", ["-movflags", "frag_keyframe+empty_moov"]],
  ["another container", "not-mov-or-mp4", "matroska.mkv", []],
])("%s are read whole, and told why", async (_what, reason, name, flags) => {
  const file = await make(name, 1, ...x264, "-c:a", "aac", ...flags);
  const reader = await readerOf(file);
  const timeRanges = [{ startSeconds: 0, endSeconds: 0.5 }];
  const answer = await rangesOfOriginal(reader.read, reader.sizeBytes, timeRanges);
  await reader.close();
  const everything = { from: 0, to: reader.sizeBytes - 1 };
  expect(answer).toMatchObject({ wholeBecause: reason, header: [], grantedBytes: reader.sizeBytes });
  expect(answer.segments).toEqual([{ ...timeRanges[0], ranges: [everything] }]);
});

test("no damage to an index is more than a reason to read the whole", async () => {
  const file = await make("damaged.mp4", 1, ...x264, "-c:a", "aac", "-movflags", "+faststart");
  const bytes = await readFile(file);
  const at = bytes.indexOf("moov") - 4;
  const moov = bytes.subarray(at + 8, at + bytes.readUInt32BE(at));
  const damage = fc.array(fc.tuple(fc.nat(moov.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
  fc.assert(
    fc.property(damage, fc.integer({ min: 0, max: moov.length }), (changes, keptBytes) => {
      const changed = Uint8Array.from(moov);
      for (const [index, value] of changes) changed[index] = value;
      const kept = keptBytes % 3 === 0 ? changed.subarray(0, keptBytes) : changed;
      try {
        const spans = spansOfTime(parseMovie(kept), { startSeconds: 0.2, endSeconds: 0.8 }, bytes.length);
        for (const { from, to } of spans) {
          expect(from).toBeGreaterThanOrEqual(0);
          expect(to).toBeLessThan(bytes.length);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(WholeOnly);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a file cut anywhere, or of other bytes, ends with a reason", async () => {
  const file = await make("cut.mov", 1, ...x264, "-an");
  const bytes = await readFile(file);
  for (const sizeBytes of [0, 1, 8, 20, 40, 1_000, bytes.length - 10]) {
    const read = async ({ from, to }: { from: number; to: number }) =>
      bytes.subarray(from, Math.min(to + 1, sizeBytes));
    const { wholeBecause } = await rangesOfOriginal(read, sizeBytes, [{ startSeconds: 0, endSeconds: 1 }]);
    expect(["index-unreadable", "not-mov-or-mp4"], `${sizeBytes} bytes`).toContain(wholeBecause);
  }
  await writeFile(join(folder, "text.mov"), "not a movie at all, only text");
  const reader = await readerOf(join(folder, "text.mov"));
  const { wholeBecause } = await rangesOfOriginal(reader.read, reader.sizeBytes, [{ startSeconds: 0, endSeconds: 1 }]);
  await reader.close();
  expect(wholeBecause).toBe("not-mov-or-mp4");
});
