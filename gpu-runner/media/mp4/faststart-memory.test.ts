/** However long a file is, what the rewriter keeps of it is small: an hour of five renditions, 6.8 GB, in one process. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { makeTestFolder, runFfmpeg } from "../testing/ffmpeg-clip.ts";

const program = fileURLToPath(new URL("../testing/hour-of-fragments.ts", import.meta.url));
const Report = z.object({
  peakBytes: z.number(),
  files: z.array(
    z.object({ sizeBytes: z.number(), frames: z.number(), durationSeconds: z.number(), keptBytes: z.number() }),
  ),
});
/** Three parts a rendition are in memory at a time (one held, one filling, one being stored), and Node itself. */
const allowedBytes = 384 * 1024 * 1024;
const partBytes = 8 * 1024 * 1024;

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
beforeAll(async () => {
  folder = await makeTestFolder();
});
afterAll(() => folder.remove());

test("an hour of the whole ladder at once", { timeout: 600_000 }, async () => {
  const clip = join(folder.path, "header.mp4");
  const picture = ["-f", "lavfi", "-i", "testsrc2=s=96x54:r=60:d=1", "-f", "lavfi", "-i", "sine=d=1:r=48000"];
  const codecs = ["-c:v", "libx264", "-threads", "1", "-pix_fmt", "yuv420p", "-c:a", "aac"];
  await runFfmpeg([...picture, ...codecs, "-movflags", "+frag_keyframe+delay_moov+default_base_moof", clip]);
  const { stdout } = await promisify(execFile)(process.execPath, [program, clip], { timeout: 590_000 });
  const { files, peakBytes } = Report.parse(JSON.parse(stdout));
  expect(files.map(({ frames }) => frames)).toEqual(Array.from({ length: 5 }, () => 216_000));
  for (const { durationSeconds, keptBytes } of files) {
    expect(durationSeconds).toBeCloseTo(3600, 0);
    expect(keptBytes).toBeLessThan(2 * partBytes);
  }
  expect(files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBeGreaterThan(6_000_000_000);
  expect(peakBytes).toBeLessThan(allowedBytes);
});
