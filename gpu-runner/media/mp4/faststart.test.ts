import { spawnSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { FRAGMENTED_MP4, mostFragments } from "../encode-command.ts";
import { decodedFrames, makeTestFolder, probeJson, runFfmpeg } from "../testing/ffmpeg-clip.ts";
import { socketChunks } from "../testing/socket-chunks.ts";
import { CorruptFragmentError, child, children, concat } from "./box.ts";
import { type FaststartFile, MoovOverflowError, moovReserveBytes, rewriteAsFaststart } from "./faststart.ts";
import type { Part } from "./part-cutter.ts";

/** At a variable rate ffmpeg keeps to its times only if the pictures' own track ends fragments. */
const ENDED_BY_KEYFRAMES = ["-movflags", "+frag_keyframe+delay_moov+default_base_moof", "-f", "mp4"];
const PLAIN = ["-movflags", "+faststart", "-f", "mp4"];
const PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=24:d=5"];
const SOUND = ["-f", "lavfi", "-i", "sine=d=5:r=48000"];
const X264 = [
  "-c:v",
  "libx264",
  "-preset",
  "veryfast",
  "-threads",
  "1",
  "-pix_fmt",
  "yuv420p",
  "-g",
  "48",
  "-sc_threshold",
  "0",
];
const AAC = ["-c:a", "aac", "-b:a", "64k"];

vi.setConfig({ testTimeout: 180_000 });

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
beforeAll(async () => {
  folder = await makeTestFolder();
});
afterAll(() => folder.remove());

type Rewritten = { file: FaststartFile; parts: Part[]; bytes: Uint8Array };

async function rewrite(
  input: AsyncIterable<Uint8Array>,
  { partSizeBytes = 64 * 1024, reserveBytes = 24 * 1024 } = {},
): Promise<Rewritten> {
  const parts: Part[] = [];
  const { file } = await rewriteAsFaststart(input, {
    partSizeBytes,
    reserveBytes,
    emit: async (part) => {
      parts.push(part);
    },
  });
  const ordered = parts.toSorted((a, b) => a.n - b.n);
  expect(ordered.map((part) => part.n)).toEqual(ordered.map((_, i) => i + 1));
  for (const part of ordered.slice(0, -1)) expect(part.bytes.length).toBe(partSizeBytes);
  expect(parts.at(-1)?.n).toBe(1);
  const bytes = concat(ordered.map((part) => part.bytes));
  expect(bytes.length).toBe(file.sizeBytes);
  expect(parts.length).toBe(file.parts);
  return { file, parts, bytes };
}

/**
 * The fragment, told to go on for so much longer in its last two samples. Its runs count from its beginning, and a
 * 64-bit mdat header is 8 bytes longer.
 */
function withLongerPayload(moof: Uint8Array, moreBytes: number): Uint8Array {
  const bytes = Buffer.from(moof);
  let last = 0;
  for (let at = bytes.indexOf("trun"); at >= 0; at = bytes.indexOf("trun", at + 1)) {
    bytes.writeInt32BE(bytes.readInt32BE(at + 12) + 8, at + 12);
    last = at;
  }
  const entriesEnd = last - 4 + bytes.readUInt32BE(last - 4);
  const samples = bytes.readUInt32BE(last + 8);
  const flags = bytes.readUInt32BE(last + 4);
  const entryBytes = (entriesEnd - last - 16 - (flags & 4 ? 4 : 0)) / samples;
  for (const entry of [entriesEnd - entryBytes, entriesEnd - 2 * entryBytes]) {
    const size = entry + (flags & 0x100 ? 4 : 0);
    bytes.writeUInt32BE(bytes.readUInt32BE(size) + moreBytes / 2, size);
  }
  return bytes;
}

/** What a player or an editor sees of a file, without where its bytes lie. */
async function seen(file: string) {
  const { packets } = await probeJson(file, ["-show_packets"]);
  const { streams, format } = await probeJson(file, ["-show_streams", "-show_format"]);
  const packet = ({ pos: _, ...rest }: Record<string, unknown>) => rest;
  const byStream = Object.groupBy(packets as Record<string, unknown>[], (p) => String(p.stream_index));
  return {
    packets: Object.values(byStream).map((list) => list?.map(packet)),
    streams: (streams as Record<string, unknown>[]).map(({ bit_rate: _, ...rest }) => rest),
    duration: (format as Record<string, unknown>).duration,
    frames: await decodedFrames(file),
  };
}

const shapes: Record<string, string[]> = {
  "B-frames and stereo": [...PICTURE, ...SOUND, ...X264, "-bf", "3", ...AAC, "-ac", "2"],
  "no B-frames and mono": [...PICTURE, ...SOUND, ...X264, "-bf", "0", ...AAC, "-ac", "1"],
  "no sound": [...PICTURE, ...X264],
  "one frame": [...PICTURE, ...X264, "-frames:v", "1"],
  "one frame with sound": [...PICTURE, ...SOUND, ...X264, "-frames:v", "1", ...AAC],
  "short sound": [...PICTURE, "-f", "lavfi", "-i", "sine=d=1.3:r=48000", ...X264, ...AAC],
  "long sound": [...PICTURE, "-f", "lavfi", "-i", "sine=d=9:r=48000", ...X264, ...AAC],
  "late sound": [...PICTURE, "-itsoffset", "1.5", ...SOUND, ...X264, ...AAC],
  "late picture": ["-itsoffset", "1.5", ...PICTURE, ...SOUND, ...X264, ...AAC],
  "29.97": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30000/1001:d=4", ...SOUND, ...X264, ...AAC],
  "variable rate": [
    ...PICTURE,
    ...SOUND,
    "-vf",
    "select='not(between(mod(n,7),2,3))'",
    "-vsync",
    "vfr",
    ...X264,
    ...AAC,
  ],
  timecode: [...PICTURE, ...SOUND, ...X264, ...AAC, "-timecode", "01:00:00:00"],
  "wide pixels": [...PICTURE, ...X264, "-vf", "setsar=4/3"],
  "colour tags": [
    ...PICTURE,
    ...X264,
    ...["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"],
  ],
  "two audio tracks": [...PICTURE, ...SOUND, ...SOUND, "-map", "0", "-map", "1", "-map", "2", ...X264, ...AAC],
  "44.1 kHz": [...PICTURE, "-f", "lavfi", "-i", "sine=d=5:r=44100", ...X264, ...AAC],
};

describe("gives what ffmpeg's own faststart gives", () => {
  // The build that npm ships (2018) gives the last frame of a fragmented stream another duration than its own faststart.
  const of2018 = spawnSync("ffmpeg", ["-version"], { encoding: "utf8" }).stdout.startsWith("ffmpeg version N-47683");
  const comparable = Object.entries(shapes).filter(([name]) => !of2018 || name !== "variable rate");
  test.each(comparable)("%s", async (name, args) => {
    const path = (suffix: string) => join(folder.path, `${name.replaceAll(" ", "-")}.${suffix}.mp4`);
    const fragmented = name === "variable rate" ? ENDED_BY_KEYFRAMES : FRAGMENTED_MP4;
    await Promise.all([
      runFfmpeg([...args, ...fragmented, path("fragmented")]),
      runFfmpeg([...args, ...PLAIN, path("plain")]),
    ]);
    const expected = await seen(path("plain"));
    for (const partSizeBytes of [4 * 1024, 8 * 1024 * 1024]) {
      const { bytes, file } = await rewrite(createReadStream(path("fragmented")), { partSizeBytes });
      await writeFile(path("rewritten"), bytes);
      const types = children(bytes).map((box) => box.type);
      expect(types.filter((type) => type !== "free")).toEqual(["ftyp", "moov", "mdat"]);
      expect(await seen(path("rewritten"))).toEqual(expected);
      expect(file.durationSeconds).toBeCloseTo(Number(expected.duration), 2);
    }
  });
});

describe("parts", () => {
  let fragmented: Uint8Array;
  beforeAll(async () => {
    const path = join(folder.path, "parts.mp4");
    await runFfmpeg([...PICTURE, ...SOUND, ...X264, ...AAC, ...FRAGMENTED_MP4, path]);
    fragmented = await readFile(path);
  });

  test("a file that fits in one part is one part without padding", async () => {
    const { parts, bytes } = await rewrite(socketChunks(fragmented, 9_999), {
      partSizeBytes: 8 * 1024 * 1024,
    });
    expect(parts.map((part) => part.n)).toEqual([1]);
    expect(children(bytes).map((box) => box.type)).toEqual(["ftyp", "moov", "mdat"]);
  });

  test("how the stream is chunked makes no difference", async () => {
    const whole = await rewrite(socketChunks(fragmented, fragmented.length));
    for (const chunkBytes of [1, 7, 4096, 65_536]) {
      const { bytes } = await rewrite(socketChunks(fragmented, chunkBytes));
      expect(Buffer.compare(bytes, whole.bytes)).toBe(0);
    }
  });

  test("counts the frames as they come", async () => {
    const counts: number[] = [];
    const emit = async () => {};
    const options = {
      partSizeBytes: 65_536,
      reserveBytes: 20_000,
      emit,
      onFrames: (n: number) => counts.push(n),
    };
    const { file } = await rewriteAsFaststart(socketChunks(fragmented, 4096), options);
    expect(file.frames).toBe(120);
    // The last sound is a fragment of its own.
    expect(counts).toEqual([12, 24, 36, 48, 60, 72, 84, 96, 108, 120, 120]);
  });

  test("does not read on while a part is being taken", async () => {
    let taken = 0;
    let read = 0;
    async function* counted() {
      for await (const chunk of socketChunks(fragmented, 1024)) {
        read += chunk.length;
        yield chunk;
      }
    }
    const readAtEmit: number[] = [];
    await rewriteAsFaststart(counted(), {
      partSizeBytes: 16_384,
      reserveBytes: 10_000,
      emit: async () => {
        const before = read;
        await new Promise((resolve) => setTimeout(resolve, 2));
        expect(read).toBe(before);
        readAtEmit.push(read);
        taken++;
      },
    });
    expect(taken).toBeGreaterThan(3);
    expect(readAtEmit[0]).toBeLessThan(16_384 * 3);
  });

  test("says how much room it needed when the tables outgrow the reserve", async () => {
    const tight = { partSizeBytes: 16_384, reserveBytes: 1024 };
    const error = await rewrite(socketChunks(fragmented, 4096), tight).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(MoovOverflowError);
    const needed = (error as MoovOverflowError).neededBytes;
    const { file } = await rewrite(socketChunks(fragmented, 4096), {
      partSizeBytes: 16_384,
      reserveBytes: needed,
    });
    expect(file.frames).toBe(120);
  });

  test("the reserve that is planned for a clip holds its tables", async () => {
    const reserveBytes = moovReserveBytes({
      frames: 120,
      durationSeconds: 5,
      fragments: mostFragments(5, 2),
    });
    const { file } = await rewrite(socketChunks(fragmented, 4096), {
      partSizeBytes: 16_384,
      reserveBytes,
    });
    expect(file.frames).toBe(120);
  });

  test("a stream cut inside a box never becomes a file", async () => {
    const boundaries = new Set<number>([0]);
    let end = 0;
    for (const box of children(fragmented)) {
      end += box.bytes.length;
      boundaries.add(end);
    }
    for (let cut = 1; cut < fragmented.length; cut += 1 + Math.floor(fragmented.length / 300)) {
      if (boundaries.has(cut)) continue;
      await expect(rewrite(socketChunks(fragmented.subarray(0, cut), 8192))).rejects.toThrow(CorruptFragmentError);
    }
  });

  test("a stream without a single frame, or that is no MP4, is refused", async () => {
    const first = children(fragmented).filter((box) => box.type === "ftyp" || box.type === "moov");
    await expect(rewrite(socketChunks(concat(first.map((box) => box.bytes)), 64))).rejects.toThrow(
      CorruptFragmentError,
    );
    await expect(rewrite(socketChunks(new Uint8Array(0), 64))).rejects.toThrow(CorruptFragmentError);
    await expect(rewrite(socketChunks(new TextEncoder().encode("no media here, only text"), 5))).rejects.toThrow(
      CorruptFragmentError,
    );
  });

  test("positions above 4 GiB are 64 bits wide", async () => {
    const boxes = children(fragmented);
    const moov = child(boxes, "moov");
    const [first, second] = boxes.filter(({ type }) => type === "moof");
    const [payload, secondPayload] = boxes.filter(({ type }) => type === "mdat");
    if (!first || !second || !payload || !secondPayload) throw new Error("the clip has fewer fragments than two");
    const junk = new Uint8Array(1024 * 1024);
    const junkBytes = 4300 * junk.length;
    /** One fragment, whose last sounds go on with 4.2 GiB of nothing, then another. */
    const huge = async function* () {
      const header = new Uint8Array(16);
      new DataView(header.buffer).setUint32(0, 1);
      header.set(new TextEncoder().encode("mdat"), 4);
      new DataView(header.buffer).setBigUint64(8, BigInt(16 + payload.body.length + junkBytes));
      yield concat([moov.bytes, withLongerPayload(first.bytes, junkBytes), header]);
      yield payload.body;
      for (let i = 0; i < 4300; i++) yield junk;
      yield concat([second.bytes, secondPayload.bytes]);
    };
    let head: Uint8Array = new Uint8Array(0);
    const reserveBytes = 64 * 1024;
    await rewriteAsFaststart(huge(), {
      partSizeBytes: 1024 * 1024,
      reserveBytes,
      emit: async (part) => {
        if (part.n === 1) head = part.bytes.subarray(0, reserveBytes - 16);
      },
    });
    const written = children(head).find((box) => box.type === "moov");
    const tables = Buffer.from(written?.bytes ?? []);
    expect(tables.includes("co64")).toBe(true);
    expect(tables.includes("stco")).toBe(false);
    const at = tables.indexOf("co64");
    expect(tables.readUInt32BE(at + 8)).toBe(2);
    expect(Number(tables.readBigUInt64BE(at + 12))).toBeGreaterThanOrEqual(reserveBytes);
    expect(Number(tables.readBigUInt64BE(at + 20)) - Number(tables.readBigUInt64BE(at + 12))).toBeGreaterThan(2 ** 32);
  });
});
