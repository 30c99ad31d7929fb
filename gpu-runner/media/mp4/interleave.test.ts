/** Pictures and sound of a moment lie near each other in a finished file: it is read from its beginning to its end. */
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { FRAGMENTED_MP4, mostFragments } from "../encode-command.ts";
import { makeTestFolder, probeJson, runFfmpeg } from "../testing/ffmpeg-clip.ts";
import { startOrigin } from "../testing/origin-server.ts";
import { children, concat } from "./box.ts";
import { rewriteAsFaststart } from "./faststart.ts";
import type { Part } from "./part-cutter.ts";

const SECONDS = 12;
const GOP_SECONDS = 2;
const Packets = z.object({
  packets: z.array(
    z.object({
      stream_index: z.number(),
      dts_time: z.coerce.number(),
      pos: z.coerce.number(),
      size: z.coerce.number(),
    }),
  ),
});

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
beforeAll(async () => {
  folder = await makeTestFolder();
});
afterAll(() => folder.remove());

/** Of so many bits that what lies between two tracks is more than a connection has on the way. */
async function makeFile(rate: string): Promise<{ path: string; fragments: number }> {
  const path = (kind: string) => join(folder.path, `${kind}.mp4`);
  const picture = ["-f", "lavfi", "-i", `testsrc2=s=320x180:r=${rate}:d=${SECONDS},noise=alls=60:allf=t`];
  const x264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -b:v 16M -maxrate 16M -bufsize 32M -sc_threshold 0";
  const keyframes = ["-force_key_frames", `expr:gte(t,n_forced*${GOP_SECONDS})`];
  const sound = ["-f", "lavfi", "-i", `sine=d=${SECONDS}:r=48000`];
  const codecs = [...x264.split(" "), ...keyframes, "-c:a", "aac", "-b:a", "128k"];
  await runFfmpeg([...picture, ...sound, ...codecs, ...FRAGMENTED_MP4, path("fragmented")]);
  const parts: Part[] = [];
  const emit = async (part: Part) => {
    parts.push(part);
  };
  const sizes = { partSizeBytes: 6 * 1024 * 1024, reserveBytes: 128 * 1024 };
  await rewriteAsFaststart(createReadStream(path("fragmented")), { ...sizes, emit });
  await writeFile(path("plain"), concat(parts.toSorted((a, b) => a.n - b.n).map(({ bytes }) => bytes)));
  const boxes = children(await readFile(path("fragmented")));
  return { path: path("plain"), fragments: boxes.filter(({ type }) => type === "moof").length };
}

describe.each(["1", "5", "24000/1001", "60"])("at %s frames a second", (rate) => {
  const [num = 1, den = 1] = rate.split("/").map(Number);
  let file: Awaited<ReturnType<typeof makeFile>>;
  let packets: z.infer<typeof Packets>["packets"];
  beforeAll(async () => {
    file = await makeFile(rate);
    packets = Packets.parse(await probeJson(file.path, ["-show_packets"])).packets;
  });

  test("neighbours of two tracks are about half a second apart at most", () => {
    const placed = packets.toSorted((a, b) => a.pos - b.pos);
    const apart = placed.flatMap((packet, i) => {
      const next = placed[i + 1];
      const isOther = next !== undefined && next.stream_index !== packet.stream_index;
      return isOther ? [Math.abs(next.dts_time - packet.dts_time)] : [];
    });
    expect(apart.length).toBeGreaterThan((SECONDS / Math.max(0.5, den / num)) * 2 - 4);
    expect(Math.max(...apart)).toBeLessThanOrEqual(0.5 + den / num + 0.001);
  });

  test("a reader goes through it by position", () => {
    expect(packets.map(({ pos }) => pos)).toEqual(packets.map(({ pos }) => pos).toSorted((a, b) => a - b));
  });

  test("over HTTP it takes a handful of requests", async () => {
    const origin = await startOrigin(file.path);
    try {
      await runFfmpeg(["-i", (await origin.location()).url, "-c", "copy", "-f", "null", "-"]);
      expect(origin.requests()).toBeLessThanOrEqual(3);
    } finally {
      await origin.close();
    }
  });

  test("the fragments are no more than room is kept for", () => {
    expect(file.fragments).toBeGreaterThan(SECONDS / GOP_SECONDS + 1);
    expect(file.fragments).toBeLessThanOrEqual(mostFragments(SECONDS, GOP_SECONDS));
  });
});
