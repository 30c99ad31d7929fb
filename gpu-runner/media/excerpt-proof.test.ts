import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { FRAGMENTED_MP4 } from "./encode-command.ts";
import { proofArguments, proveExcerpt } from "./excerpt-proof.ts";
import { bytesAt, openExcerptServer } from "./excerpt-server.ts";
import { children } from "./mp4/box.ts";
import type { Excerpt } from "./mp4/excerpt.ts";
import { rewriteAsFaststart } from "./mp4/faststart.ts";
import { makeTestFolder, runFfmpeg } from "./testing/ffmpeg-clip.ts";
import { socketChunks } from "./testing/socket-chunks.ts";

vi.setConfig({ testTimeout: 60_000 });

const GRAIN = "noise=alls=40:allf=t";
const X264 = "-c:v libx264 -preset veryfast -threads 1 -pix_fmt yuv420p -sc_threshold 0 -bf 2".split(" ");

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
beforeAll(async () => {
  folder = await makeTestFolder();
});
afterAll(() => folder.remove());

/** Six groups of a second. */
async function encode(rate: number, container: readonly string[]): Promise<Uint8Array> {
  const path = join(folder.path, "grain.mp4");
  const picture = ["-f", "lavfi", "-i", `testsrc2=s=320x180:r=${rate}:d=6,${GRAIN}`];
  const sound = ["-f", "lavfi", "-i", "sine=d=6:r=48000", "-c:a", "aac"];
  await runFfmpeg([...picture, ...sound, ...X264, "-g", String(rate), ...container, path]);
  return await readFile(path);
}

async function excerptOf(bytes: Uint8Array, options: { maxGroupBytes?: number; partSizeBytes?: number } = {}) {
  const emit = async () => {};
  return (
    await rewriteAsFaststart(socketChunks(bytes, 30_000), {
      partSizeBytes: 32_768,
      reserveBytes: 24_576,
      emit,
      ...options,
    })
  ).excerpt;
}

const prove = (excerpt: Excerpt, signal = new AbortController().signal, timeoutMs = 30_000) =>
  proveExcerpt(excerpt, { ffprobePath: "ffprobe", timeoutMs, signal });

const heldBytes = ({ pieces }: Excerpt) => pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);

const containers = [
  { what: "a fragment a group", fragmentsOfGroup: 1, container: FRAGMENTED_MP4.with(3, "10000000") },
  { what: "fragments of half a second", fragmentsOfGroup: 2, container: FRAGMENTED_MP4 },
  { what: "fragments of a quarter of a second", fragmentsOfGroup: 4, container: FRAGMENTED_MP4.with(3, "250000") },
];

describe.each(containers)("the beginning and the end of a file rewritten from $what", (of) => {
  let fragmented: Uint8Array;
  beforeAll(async () => {
    fragmented = await encode(24, of.container);
  });

  /** The stream with pictures of one fragment overwritten; its boxes stay as they are. */
  function damaged(group: number, fragment: number): Uint8Array {
    const bytes = Uint8Array.from(fragmented);
    const mdat = children(bytes).filter(({ type }) => type === "mdat")[group * of.fragmentsOfGroup + fragment];
    if (mdat === undefined) throw new Error(`group ${group} has no fragment ${fragment}`);
    for (let i = 4_000; i < mdat.body.length / 2; i++) mdat.body[i] = (i * 151) & 0xff;
    return bytes;
  }

  test("comes as said", () => {
    // The last sound is one of its own.
    const fragments = children(fragmented).filter(({ type }) => type === "moof").length;
    expect(Math.floor(fragments / 6)).toBe(of.fragmentsOfGroup);
  });

  test("decode, from what little is kept of it", async () => {
    const excerpt = await excerptOf(fragmented);
    expect(excerpt.groups.map(({ samples, frameSeconds }) => [samples, frameSeconds.length])).toEqual([
      [24, 24],
      [24, 24],
    ]);
    expect(excerpt.groups.map(({ seekSeconds }) => seekSeconds)).toEqual([null, 5]);
    expect(heldBytes(excerpt)).toBeLessThan(excerpt.sizeBytes / 2);
    expect(await prove(excerpt)).toBeNull();
  });

  test("decode where the whole file is one part", async () => {
    expect(await prove(await excerptOf(fragmented, { partSizeBytes: 8 * 1024 * 1024 }))).toBeNull();
  });

  test("are told apart when one of them is damaged, and what lies between is not looked at", async () => {
    for (let fragment = 0; fragment < of.fragmentsOfGroup; fragment++) {
      expect(await prove(await excerptOf(damaged(0, fragment)))).toMatch(/^its beginning does not decode: ./);
      expect(await prove(await excerptOf(damaged(5, fragment)))).toMatch(/^its end does not decode: ./);
    }
    expect(await prove(await excerptOf(damaged(1, of.fragmentsOfGroup - 1)))).toBeNull();
    expect(await prove(await excerptOf(damaged(4, of.fragmentsOfGroup - 1)))).toBeNull();
  });

  test("must be where the tables say", async () => {
    const excerpt = await excerptOf(fragmented);
    const [head, ...rest] = excerpt.pieces;
    const shifted = rest.map(({ offsetBytes, bytes }) => ({ offsetBytes: offsetBytes + 1, bytes }));
    expect(await prove({ ...excerpt, pieces: [...(head ? [head] : []), ...shifted] })).toMatch(/does not decode/);
  });

  test("must have every frame at its time", async () => {
    const excerpt = await excerptOf(fragmented);
    const later = excerpt.groups.map((group) => ({ ...group, frameSeconds: group.frameSeconds.map((s) => s + 0.01) }));
    expect(await prove({ ...excerpt, groups: later })).toMatch(/frame 1 of 24 is shown at 0/);
    const more = excerpt.groups.map((group) => ({ ...group, frameSeconds: [...group.frameSeconds, 7] }));
    expect(await prove({ ...excerpt, groups: more })).toMatch(/24 frames came out of 25/);
  });

  test("a group too large to keep is given up, and said so", async () => {
    const excerpt = await excerptOf(fragmented, { maxGroupBytes: 10_000 });
    expect(excerpt).toMatchObject({ partial: true, groups: [] });
    expect(heldBytes(excerpt)).toBe(32_768);
  });

  test("a decoder that hangs, or is not there, is no proof; an aborted one throws the reason", async () => {
    const excerpt = await excerptOf(fragmented);
    expect(await prove(excerpt, undefined, 1)).toMatch(/took too long/);
    const options = { ffprobePath: "/nonexistent/ffprobe", timeoutMs: 1_000, signal: new AbortController().signal };
    expect(await proveExcerpt(excerpt, options)).toMatch(/ENOENT/);
    const killed = join(folder.path, "killed-ffprobe");
    await writeFile(killed, "#!/bin/sh\nkill -KILL $$\n", { mode: 0o755 });
    expect(await proveExcerpt(excerpt, { ...options, ffprobePath: killed })).toMatch(/ffprobe ended with SIGKILL$/);
    const reason = new Error("the lease is lost");
    await expect(prove(excerpt, AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

test("decode where sound has fragments of its own between two frames of a group", async () => {
  const stream = await encode(1, [...FRAGMENTED_MP4, "-g", "3"]);
  const excerpt = await excerptOf(stream, { partSizeBytes: 24_700 });
  expect(excerpt).toMatchObject({ partial: false, groups: [{ samples: 3 }, { samples: 3 }] });
  expect(await prove(excerpt)).toBeNull();
});

test("only a group's own packets are read, by name of its stream and without looking for more", () => {
  const first = { seekSeconds: null, samples: 48, frameSeconds: [0, 0.04] };
  expect(proofArguments(first, "http://127.0.0.1:1/x").join(" ")).toContain(
    "-select_streams V:0 -read_intervals %+#48",
  );
  const last = { seekSeconds: 98, samples: 2, frameSeconds: [98, 98.04] };
  expect(proofArguments(last, "http://127.0.0.1:1/x").join(" ")).toContain("-read_intervals 98.040000 -show_entries");
});

describe("what is not kept", () => {
  const pieces = [
    { offsetBytes: 0, bytes: new Uint8Array([1, 2, 3]) },
    { offsetBytes: 6, bytes: new Uint8Array([7, 8, 9]) },
  ];

  test("reads as zeros up to what is", () => {
    expect([...bytesAt(pieces, 1, 8)]).toEqual([2, 3]);
    expect([...bytesAt(pieces, 3, 8)]).toEqual([0, 0, 0]);
    expect([...bytesAt(pieces, 6, 7)]).toEqual([7, 8]);
    expect([...bytesAt(pieces, 9, 10)]).toEqual([0, 0]);
  });

  test("is served under one name only, whole or by range", async () => {
    const server = await openExcerptServer({ sizeBytes: 12, pieces, groups: [], partial: false });
    const get = async (url: string, range?: string) => {
      const response = await fetch(url, range === undefined ? {} : { headers: { range } });
      return { status: response.status, bytes: [...new Uint8Array(await response.arrayBuffer())] };
    };
    expect(await get(server.url)).toEqual({ status: 200, bytes: [1, 2, 3, 0, 0, 0, 7, 8, 9, 0, 0, 0] });
    expect(await get(server.url, "bytes=2-7")).toEqual({ status: 206, bytes: [3, 0, 0, 0, 7, 8] });
    expect((await get(server.url, "bytes=12-")).status).toBe(416);
    expect((await get(`${server.url}x`)).status).toBe(404);
    await server.close();
    await expect(fetch(server.url)).rejects.toThrow();
  });
});
