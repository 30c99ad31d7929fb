/**
 * The rewriter against ffmpeg's own +faststart, over random kinds of files. One encoder feeds both of ffmpeg's muxers, so
 * that whatever differs is the rewriter's doing.
 *
 * MMF_SHAPE_SEED and MMF_SHAPES choose where to begin and how many; a failure names the seed of its shape.
 */
import { spawnSync } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodedFrames, makeTestFolder, probeJson, runFfmpeg } from "../testing/ffmpeg-clip.ts";
import { type MediaShape, mediaShape, shapeArguments } from "../testing/media-shape.ts";
import { movieBoxes, sampleHashes } from "../testing/movie-dump.ts";
import { socketChunks } from "../testing/socket-chunks.ts";
import { children, concat } from "./box.ts";
import { rewriteAsFaststart } from "./faststart.ts";
import type { Part } from "./part-cutter.ts";

const firstSeed = Number(process.env.MMF_SHAPE_SEED ?? 1);
const shapeCount = Number(process.env.MMF_SHAPES ?? 200);
/** Every kind must have been met so often in a full run. */
const leastOfEach = 5;
const atOnce = 2;
/**
 * Headers that are the same byte for byte, over the same samples, leave a reader nothing to tell apart: every so many
 * shapes are read and decoded all the same.
 */
const playedEvery = 5;

const version = /^ffmpeg version (\S+)/.exec(spawnSync("ffmpeg", ["-version"], { encoding: "utf8" }).stdout)?.[1] ?? "";
/** These fill a plain file's header alike; of other builds only what players see is compared. */
const fillsHeaderAlike = /^n?[567]\./.test(version);
// The build that npm ships gives a fragmented stream's last frame another duration than a plain file's at a variable rate.
const of2018 = version.startsWith("N-47683");

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
beforeAll(async () => {
  folder = await makeTestFolder();
});
afterAll(() => folder.remove());

/** Packets with their times, flags and content, streams as they are described, and every decoded frame. */
async function seen(file: string) {
  const entries = "packet=stream_index,pts,dts,duration,size,flags,data_hash,side_data_list:stream:format=duration";
  const args = ["-show_packets", "-show_data_hash", "md5", "-show_streams", "-show_format", "-show_entries", entries];
  const [{ packets, streams, format }, frames] = await Promise.all([probeJson(file, args), decodedFrames(file)]);
  const byStream = Object.groupBy(packets as Record<string, unknown>[], (packet) => String(packet.stream_index));
  const described = (streams as Record<string, unknown>[]).map(({ bit_rate: _, ...rest }) => rest);
  const seconds = Number((format as { duration: string }).duration);
  return { seen: { packets: byStream, streams: described, frames }, seconds };
}

async function rewritten(shape: MediaShape, fragmented: Uint8Array) {
  const parts: Part[] = [];
  const emit = async (part: Part) => {
    parts.push(part);
  };
  await rewriteAsFaststart(socketChunks(fragmented, shape.chunkBytes), { ...shape, emit });
  const ordered = parts.toSorted((a, b) => a.n - b.n);
  expect(ordered.map((part) => part.n)).toEqual(ordered.map((_, i) => i + 1));
  for (const { bytes } of ordered.slice(0, -1)) expect(bytes.length).toBe(shape.partSizeBytes);
  expect(parts.at(-1)?.n).toBe(1);
  return { bytes: concat(ordered.map((part) => part.bytes)), parts: ordered.length };
}

async function compare(shape: MediaShape): Promise<string[]> {
  const path = (kind: string) => join(folder.path, `${shape.seed}.${kind}.mp4`);
  const length = shape.fragmentSeconds === null ? "" : `:frag_duration=${shape.fragmentSeconds * 1_000_000}`;
  const slaves = [
    `[f=mp4:movflags=+frag_keyframe+delay_moov+default_base_moof${length}]${path("fragmented")}`,
    `[f=mp4:movflags=+faststart]${path("plain")}`,
  ];
  const headers = ["-flags:v", "+global_header", "-flags:a", "+global_header"];
  await runFfmpeg([...shapeArguments(shape), ...headers, "-f", "tee", slaves.join("|")]);
  const fragmented = await readFile(path("fragmented"));
  const { bytes, parts } = await rewritten(shape, fragmented);
  await writeFile(path("rewritten"), bytes);
  const plain = await readFile(path("plain"));
  expect(sampleHashes(bytes)).toEqual(sampleHashes(plain));
  const boxes = Object.fromEntries(movieBoxes(plain));
  const made = Object.fromEntries(movieBoxes(bytes));
  if (fillsHeaderAlike) expect(made).toEqual(withinATick(boxes, made));
  if (!fillsHeaderAlike || shape.seed % playedEvery === 0) {
    const [ours, theirs] = [await seen(path("rewritten")), await seen(path("plain"))];
    expect(ours.seen).toEqual(theirs.seen);
    expect(Math.abs(ours.seconds - theirs.seconds)).toBeLessThan(0.0011);
  }
  await Promise.all(["fragmented", "plain", "rewritten"].map((kind) => rm(path(kind))));
  // stss, which is left out where every frame is a keyframe, begins with its number of entries.
  const keyframes = Number.parseInt(boxes["trak.0.mdia.minf.stbl.stss"]?.slice(8, 16) ?? "1", 16);
  const fragments = children(fragmented).filter(({ type }) => type === "moof").length;
  return kindsOf(shape, { parts, keyframes, fragments });
}

/**
 * A fragmented stream rounds a late track's start to the movie's milliseconds, so that its end, rounded again, may be off
 * by one. Nothing else may be.
 */
function withinATick(theirs: Record<string, string>, ours: Record<string, string>): Record<string, string> {
  const adopted = Object.entries(theirs).map(([path, hex]) => {
    const at = path === "mvhd" ? 32 : path.endsWith(".tkhd") ? 40 : null;
    const mine = ours[path];
    if (at === null || mine === undefined) return [path, hex];
    const duration = (body: string) => Number.parseInt(body.slice(at, at + 8), 16);
    if (Math.abs(duration(hex) - duration(mine)) > 1) return [path, hex];
    return [path, hex.slice(0, at) + mine.slice(at, at + 8) + hex.slice(at + 8)];
  });
  return Object.fromEntries(adopted);
}

type Made = { parts: number; keyframes: number; fragments: number };

function kindsOf(shape: MediaShape, { parts, keyframes, fragments }: Made): string[] {
  const { audio, fragmentSeconds } = shape;
  // The last sound may be one of its own.
  const cutGroups = fragmentSeconds !== null && fragments > keyframes + 1;
  const kinds = {
    "B-frames": shape.bFrames > 0 && shape.frames === null,
    "no B-frames": shape.bFrames === 0,
    "open GOPs": shape.openGop && keyframes > 1,
    "closed GOPs": !shape.openGop && keyframes > 1,
    "one GOP": keyframes === 1,
    "one frame": shape.frames === 1,
    "no audio": audio.length === 0,
    "one audio track": audio.length === 1,
    "two audio tracks": audio.length === 2,
    mono: audio.some(({ channels }) => channels === 1),
    "late audio": audio.some(({ lateBySeconds }) => lateBySeconds > shape.pictureLateBySeconds),
    "late picture": shape.pictureLateBySeconds > 0 && audio.some(({ lateBySeconds }) => lateBySeconds === 0),
    "audio ends early": audio.some(({ seconds }) => seconds < shape.seconds && shape.frames === null),
    "audio ends late": audio.some(({ seconds }) => seconds > shape.seconds),
    "odd sample rate": audio.some(({ sampleRateHz }) => sampleRateHz !== 48_000),
    "variable rate": shape.vfr !== null,
    "constant rate": shape.vfr === null,
    "fractional rate": shape.rate.includes("/"),
    timecode: shape.timecode,
    "wide pixels": shape.sar !== "1/1",
    "fragments that are groups": fragmentSeconds === null && keyframes > 1,
    "fragments within groups": cutGroups,
    "fragments within groups, B-frames": cutGroups && shape.bFrames > 0,
    "fragments within groups, timecode": cutGroups && shape.timecode,
    "fragments within groups, no audio": cutGroups && audio.length === 0,
    "fragments within groups, two audio tracks": cutGroups && audio.length === 2,
    "fragments of 0.1 to 0.3 s": cutGroups && fragmentSeconds < 0.35,
    "fragments of 0.4 to 1 s": cutGroups && fragmentSeconds > 0.35,
    "one part": parts === 1,
    "two to nine parts": parts > 1 && parts < 10,
    "ten parts and more": parts >= 10,
    "chunks below 16 bytes": shape.chunkBytes < 16,
    "chunks of 16 to 1023 bytes": shape.chunkBytes >= 16 && shape.chunkBytes < 1024,
    "chunks of 1 KiB to 64 KiB": shape.chunkBytes >= 1024,
  };
  return Object.entries(kinds).flatMap(([kind, met]) => [met ? kind : `${kind}\0`]);
}

test(`${shapeCount} shapes from seed ${firstSeed}`, { timeout: 1_200_000 }, async () => {
  const seeds = Array.from({ length: shapeCount }, (_, i) => firstSeed + i);
  const shapes = seeds.map(mediaShape).filter(({ vfr }) => !of2018 || vfr === null);
  const met = new Map<string, number>();
  const waiting = shapes.values();
  const work = async () => {
    for (const shape of waiting) {
      const kinds = await compare(shape).catch((error: unknown) => {
        throw new Error(`shape ${JSON.stringify(shape)}`, { cause: error });
      });
      for (const kind of kinds) {
        const name = kind.replace("\0", "");
        met.set(name, (met.get(name) ?? 0) + (name === kind ? 1 : 0));
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const table = [...met].map(([kind, count]) => `${String(count).padStart(5)}  ${kind}`);
  process.stdout.write(`${shapes.length} shapes from seed ${firstSeed}\n${table.join("\n")}\n`);
  if (shapeCount < 200) return;
  for (const [kind, count] of met) {
    if (of2018 && kind === "variable rate") continue;
    expect.soft(count, kind).toBeGreaterThanOrEqual(leastOfEach);
  }
});
