import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import { makeClip } from "./ffmpeg-tool.ts";

test("a clip that could not be finished is not there for the next demo", async () => {
  const folder = await mkdtemp(join(tmpdir(), "demo-clip-"));
  try {
    const ffmpegPath = join(folder, "ffmpeg");
    // Writes some of its last argument, then dies, as a full disk or a kill would have it.
    await writeFile(ffmpegPath, '#!/bin/sh\nfor last; do :; done\necho part > "$last"\nexit 1\n', { mode: 0o700 });
    const binaries = {
      ffmpegPath,
      ffprobePath: "ffprobe",
      version: "test",
      dialect: { frameRateModeOption: "-fps_mode", bFrameReferences: true },
      warnings: [],
    } satisfies Binaries;
    const shape = { width: 64, height: 36, seconds: 1 };
    await expect(makeClip(binaries, join(folder, "clip.mp4"), shape)).rejects.toThrow("ended with 1");
    expect(await readdir(folder)).toEqual(["ffmpeg"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
