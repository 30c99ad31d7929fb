import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findBinaries, readDialect } from "./binaries.ts";
import { chooseEncoder, explainNvencFailure } from "./encoder-probe.ts";
import { makeTestFolder } from "./testing/ffmpeg-clip.ts";

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
beforeAll(async () => {
  folder = await makeTestFolder();
});
afterAll(() => folder.remove());

/** An executable that says what an ffmpeg would say. */
async function script(name: string, body: string): Promise<string> {
  const path = join(folder.path, name);
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

describe("binaries", () => {
  test("the npm fallback is found where the system has none, and said to be one", async () => {
    const found = await findBinaries({ PATH: folder.path });
    expect(found.ffmpegPath).toMatch(/@ffmpeg-installer/);
    expect(found.ffprobePath).toMatch(/@ffprobe-installer/);
    expect(found.dialect.frameRateModeOption).toBe("-vsync");
    expect(found.warnings).toEqual([expect.stringContaining("the old ffmpeg that npm ships")]);
  });

  test("what was set on purpose is used, or refused, never passed over", async () => {
    const banner = "ffmpeg version 7.1.5-custom Copyright\nlibavcodec     61. 19.101 / 61. 19.101";
    const ffmpegPath = await script("my-ffmpeg", `printf '${banner.replace("\n", "\\n")}'`);
    const found = await findBinaries({ PATH: process.env.PATH, FFMPEG_PATH: ffmpegPath });
    expect(found).toMatchObject({ ffmpegPath, version: "7.1.5-custom", warnings: [] });
    const missing = findBinaries({ PATH: process.env.PATH, FFMPEG_PATH: "/nonexistent/ffmpeg" });
    await expect(missing).rejects.toThrow(/no ffmpeg found .*FFMPEG_PATH/);
    const other = await script("not-ffmpeg", "echo hello");
    await expect(findBinaries({ PATH: process.env.PATH, FFPROBE_PATH: other })).rejects.toThrow(/is not ffprobe/);
  });

  test.each([
    ["libavcodec     58. 22.100", "-vsync"],
    ["libavcodec     59. 18.100", "-vsync"],
    ["libavcodec     59. 37.100", "-fps_mode"],
    ["libavcodec     61. 19.101", "-fps_mode"],
  ])("%s takes %s", (line, option) => {
    expect(readDialect(`ffmpeg version N-1\n${line} / 1\n`).frameRateModeOption).toBe(option);
  });
});

describe("encoder", () => {
  const dialect = { frameRateModeOption: "-fps_mode", bFrameReferences: true } as const;
  const binaries = (ffmpegPath: string) => ({
    ffmpegPath,
    ffprobePath: "ffprobe",
    version: "1",
    dialect,
    warnings: [],
  });

  test("is NVENC when a few frames could be encoded with it, as many at once as there are renditions", async () => {
    const log = join(folder.path, "arguments");
    const fake = await script(
      "nvenc-ffmpeg",
      `echo "$@" > ${log}; [ "$(echo "$@" | grep -o h264_nvenc | wc -l)" = 4 ]`,
    );
    expect(await chooseEncoder(binaries(fake), "auto", 4)).toMatchObject({ kind: "nvenc", dialect });
  });

  test("is NVENC without B frames as references on a card that has none", async () => {
    const refusal = "[h264_nvenc @ 0x1] B frames as references are not supported";
    const fake = await script("old-card", `case "$*" in *b_ref_mode*) echo "${refusal}" >&2; exit 1;; esac`);
    expect(await chooseEncoder(binaries(fake), "auto", 1)).toMatchObject({
      kind: "nvenc",
      dialect: { bFrameReferences: false },
    });
  });

  test("is libx264 otherwise, and says why", async () => {
    const fake = await script("no-card", `echo "[h264_nvenc @ 0x1] Cannot load libcuda.so.1" >&2; exit 1`);
    const choice = await chooseEncoder(binaries(fake), "auto", 1);
    expect(choice).toMatchObject({ kind: "x264", reason: expect.stringContaining("no NVIDIA driver") });
    await expect(chooseEncoder(binaries(fake), "nvenc", 1)).rejects.toThrow(
      /FFMPEG_ENCODER=nvenc, but no NVIDIA driver/,
    );
    expect(await chooseEncoder(binaries("/nonexistent"), "x264", 1)).toMatchObject({ kind: "x264" });
  });

  test.each([
    ["[h264_nvenc @ 0x1] No capable devices found", "this card has no NVENC"],
    ["[h264_nvenc @ 0x1] OpenEncodeSessionEx failed: unsupported device (2)", "this card has no NVENC"],
    ["OpenEncodeSessionEx failed: out of memory (10): (no details)", "NVENC has no session left"],
    ["Unknown encoder 'h264_nvenc'", "this ffmpeg was built without (a recent) NVENC"],
    ["\nSomething else\n", "NVENC failed (Something else)"],
  ])("%s", (stderr, reason) => {
    expect(explainNvencFailure(stderr)).toBe(reason);
  });
});
