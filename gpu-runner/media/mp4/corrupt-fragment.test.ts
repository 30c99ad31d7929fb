/** A stream that breaks the format never becomes a file, and never brings the runner down. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RenditionPlan } from "../../../schemas/ladder.ts";
import { evidence } from "../testing/encode-evidence.ts";
import { makeTestFolder, runFfmpeg } from "../testing/ffmpeg-clip.ts";
import { socketChunks } from "../testing/socket-chunks.ts";
import { verifyEncode } from "../verify.ts";
import { box, CorruptFragmentError, children, concat } from "./box.ts";
import { MoovOverflowError, rewriteAsFaststart } from "./faststart.ts";

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
/** ftyp and moov; then each fragment's moof and mdat; then what closes the stream. */
let opening: Uint8Array;
let fragments: { moof: Uint8Array; mdat: Uint8Array }[];
let closing: Uint8Array;

beforeAll(async () => {
  folder = await makeTestFolder();
  const path = join(folder.path, "whole.mp4");
  const picture = ["-f", "lavfi", "-i", "testsrc2=s=96x54:r=24:d=5", "-c:v", "libx264", "-preset", "veryfast"];
  const sound = ["-f", "lavfi", "-i", "sine=d=5:r=48000", "-c:a", "aac"];
  const shape = ["-pix_fmt", "yuv420p", "-threads", "1", "-g", "24", "-sc_threshold", "0"];
  const container = ["-movflags", "+frag_keyframe+delay_moov+default_base_moof", "-f", "mp4"];
  await runFfmpeg([
    ...picture.slice(0, 4),
    ...sound.slice(0, 4),
    ...picture.slice(4),
    ...sound.slice(4),
    ...shape,
    ...container,
    path,
  ]);
  const boxes = children(await readFile(path));
  const of = (type: string) => boxes.filter((b) => b.type === type).map(({ bytes }) => bytes);
  opening = concat([...of("ftyp"), ...of("moov")]);
  const payloads = of("mdat");
  fragments = of("moof").map((moof, i) => ({ moof, mdat: payloads[i] ?? new Uint8Array(0) }));
  closing = concat(of("mfra"));
});
afterAll(() => folder.remove());

const stream = (parts: Uint8Array[]) => concat([opening, ...parts, closing]);
const whole = () => stream(fragments.flatMap(({ moof, mdat }) => [moof, mdat]));
const fragment = (i: number) => {
  const found = fragments[i];
  if (found === undefined) throw new Error(`there is no fragment ${i}`);
  return found;
};

async function rewrite(bytes: Uint8Array) {
  const numbers: number[] = [];
  const emit = async ({ n }: { n: number }) => {
    numbers.push(n);
  };
  try {
    return await rewriteAsFaststart(socketChunks(bytes, 4096), { partSizeBytes: 8192, reserveBytes: 8000, emit });
  } catch (error) {
    // Without its first part nothing is a file.
    expect(numbers).not.toContain(1);
    throw error;
  }
}

/** A copy with a big-endian number changed at so many bytes behind a box's name. */
function edited(bytes: Uint8Array, type: string, at: number, change: (value: number) => number): Uint8Array {
  const copy = Buffer.from(bytes);
  const field = copy.indexOf(type) + 4 + at;
  copy.writeUInt32BE(change(copy.readUInt32BE(field)) >>> 0, field);
  return copy;
}

/** The whole stream with one fragment's moof changed. */
const withMoof = (i: number, change: (moof: Uint8Array) => Uint8Array) =>
  stream(fragments.flatMap(({ moof, mdat }, j) => [i === j ? change(moof) : moof, mdat]));

test("the stream as it is becomes a file", async () => {
  expect((await rewrite(whole())).file.frames).toBe(120);
});

describe("refused", () => {
  const mutations: Record<string, () => Uint8Array> = {
    "a fragment without its payload": () => stream([fragment(0).moof, fragment(1).moof, fragment(1).mdat]),
    "a payload without its fragment": () => stream([fragment(0).moof, fragment(0).mdat, fragment(1).mdat]),
    "a last fragment without its payload": () => stream([fragment(0).moof, fragment(0).mdat, fragment(1).moof]),
    "fragments in another order": () => stream([1, 0, 2, 3, 4].flatMap((i) => [fragment(i).moof, fragment(i).mdat])),
    "a fragment that is missing": () => stream([0, 2, 3, 4].flatMap((i) => [fragment(i).moof, fragment(i).mdat])),
    "a fragment that comes twice": () => stream([0, 1, 1, 2].flatMap((i) => [fragment(i).moof, fragment(i).mdat])),
    "another fragment's payload": () => stream([fragment(0).moof, fragment(1).mdat]),
    "a sequence number that jumps": () => withMoof(2, (moof) => edited(moof, "mfhd", 4, (n) => n + 1)),
    "a decode time that goes back": () => withMoof(2, (moof) => edited(moof, "tfdt", 8, () => 0)),
    "more samples than the payload has": () => withMoof(1, (moof) => edited(moof, "trun", 4, (n) => n + 1)),
    "fewer samples than the payload has": () => withMoof(1, (moof) => edited(moof, "trun", 4, (n) => n - 1)),
    "more samples than any fragment has": () => withMoof(1, (moof) => edited(moof, "trun", 4, () => 0xffff_ffff)),
    "samples that begin before the payload": () => withMoof(1, (moof) => edited(moof, "trun", 8, (n) => n - 20)),
    "samples that end beyond the payload": () => withMoof(1, (moof) => edited(moof, "trun", 8, (n) => n + 1_000_000)),
    "a track that does not exist": () => withMoof(1, (moof) => edited(moof, "tfhd", 4, () => 9)),
    "a box that is larger than its parent": () => withMoof(1, (moof) => edited(moof, "traf", -8, (n) => n + 400)),
    "a box of no size": () => withMoof(1, (moof) => edited(moof, "trun", -8, () => 0)),
    "a fragment without a header": () => withMoof(1, () => box("moof")),
    "a second moov": () => stream([fragment(0).moof, fragment(0).mdat, opening]),
    "no moov": () => concat(fragments.flatMap(({ moof, mdat }) => [moof, mdat])),
    "a payload that is shorter than it says": () =>
      stream([fragment(0).moof, edited(fragment(0).mdat, "mdat", -8, (n) => n + 64)]),
  };
  test.each(Object.entries(mutations))("%s", async (_, make) => {
    await expect(rewrite(make())).rejects.toThrow(CorruptFragmentError);
  });
});

const plan = {
  quality: "360p",
  fps: { num: 24, den: 1 },
  expectedFrames: 120,
  audioBitrateBps: null,
} as RenditionPlan;

test("cut between two fragments it is a file of fewer frames, which is not taken for the whole", async () => {
  const { file, ...lengths } = await rewrite(
    concat([opening, ...[0, 1, 2].flatMap((i) => [fragment(i).moof, fragment(i).mdat])]),
  );
  expect(file.frames).toBe(72);
  const made = { frames: file.frames, ...lengths, decodeTrouble: null };
  expect(verifyEncode(evidence(plan, made))).toMatchObject({
    code: "TRUNCATED",
  });
});

test("a hole in time is a file whose frames last too long", async () => {
  const { file, ...lengths } = await rewrite(
    withMoof(4, (moof) => edited(moof, "tfdt", 8, (ticks) => ticks + 500_000)),
  );
  const made = { frames: file.frames, ...lengths, decodeTrouble: null };
  expect(verifyEncode(evidence(plan, made))).toMatchObject({
    code: "OUTPUT_INCOMPLETE",
  });
});

test("cut anywhere inside a box it is refused", async () => {
  const bytes = whole();
  const boundaries = new Set([0]);
  let end = 0;
  for (const b of children(bytes)) {
    end += b.bytes.length;
    boundaries.add(end);
  }
  for (let cut = 1; cut < bytes.length; cut += 97) {
    if (!boundaries.has(cut))
      await expect(rewrite(bytes.subarray(0, cut)), `cut at ${cut}`).rejects.toThrow(CorruptFragmentError);
  }
});

test("whatever byte of the tables is changed, it is a file or an error of its own kind", async () => {
  const bytes = whole();
  const tables = [...bytes.keys()].filter((at) => at < opening.length || at % 7 === 0);
  let refused = 0;
  for (const at of tables.filter((_, i) => i % 5 === 0)) {
    const copy = Uint8Array.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
    const error = await rewrite(copy).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (error === null) continue;
    if (!(error instanceof CorruptFragmentError || error instanceof MoovOverflowError)) throw error;
    refused++;
  }
  expect(refused).toBeGreaterThan(50);
});
