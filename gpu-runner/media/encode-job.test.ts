import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { findBinaries } from "./binaries.ts";
import { countDecodedFrames, runFfmpeg } from "./testing/ffmpeg-clip.ts";
import { clip, FAST, inspect, make, qualities, SMALL_LADDER, SOUND, useJobBench, video } from "./testing/job-bench.ts";
import { clicksOf } from "./testing/rendition-look.ts";
import { turned } from "./testing/source-file.ts";

useJobBench();

describe("sources", () => {
  test("854×480 with sound becomes 360p alone", async () => {
    await runFfmpeg([...video("854x480"), ...SOUND, ...FAST, clip("a.mp4")]);
    const made = await make(clip("a.mp4"));
    expect(qualities(made)).toEqual(["360p"]);
    expect(await inspect(made, "360p")).toEqual({
      size: "640x360",
      frames: 48,
      rate: "24/1",
      colour: "bt709",
      rotated: false,
      tracks: ["h264", "aac"],
      boxes: ["ftyp", "moov", "mdat"],
    });
    expect(made.outcome).toMatchObject({ renditions: [{ frames: 48, width: 640, height: 360, parts: 1 }] });
    expect(made.source).toMatchObject({ width: 854, height: 480, fps: { num: 24, den: 1 }, audio: [{ codec: "aac" }] });
    expect(made.progress.at(-1)?.renditions.map((r) => r.quality)).toEqual(["360p"]);
    // A job is as far as its renditions say; one that is alone says the same.
    expect(made.progress.map(({ percent }) => percent)).toEqual(made.progress.map((p) => p.renditions[0]?.percent));
  });

  test("one decode makes every rung, each with every frame", async () => {
    await runFfmpeg([...video("1920x1080", 1), ...SOUND, ...FAST, clip("ladder.mp4")]);
    const made = await make(clip("ladder.mp4"), { policy: SMALL_LADDER });
    expect(qualities(made)).toEqual(["360p", "540p", "720p", "1080p", "2160p"]);
    for (const [quality, size] of [
      ["360p", "160x90"],
      ["540p", "240x136"],
      ["2160p", "960x540"],
    ] as const) {
      const { frames, ...seen } = await inspect(made, quality);
      expect(seen.size).toBe(size);
      expect(frames).toBe(24);
    }
  });

  test("a portrait clip, turned by its metadata, comes out upright", async () => {
    await runFfmpeg([...video("640x480"), ...FAST, clip("flat.mp4")]);
    await writeFile(clip("turned.mp4"), turned(90)(await readFile(clip("flat.mp4"))));
    const made = await make(clip("turned.mp4"));
    expect(made.source).toMatchObject({ width: 480, height: 640 });
    expect([90, 270]).toContain(made.source?.rotation);
    expect(await inspect(made, "360p")).toMatchObject({ size: "360x480", rotated: false, tracks: ["h264"] });
  });

  test("below 360p a source keeps its own size, made even, and is not scaled up", async () => {
    await runFfmpeg([...video("211x121"), "-c:v", "ffv1", clip("tiny.mkv")]);
    const made = await make(clip("tiny.mkv"));
    expect(qualities(made)).toEqual(["360p"]);
    expect(await inspect(made, "360p")).toMatchObject({ size: "210x120", frames: 48 });
  });

  test("a single frame is a video too", async () => {
    await runFfmpeg([...video("640x360"), "-frames:v", "1", ...FAST, clip("one.mp4")]);
    expect(await inspect(await make(clip("one.mp4")), "360p")).toMatchObject({ frames: 1 });
  });

  test("wide pixels, interlaced, 4:2:2, with a timecode", async () => {
    const filter = "setsar=16/11,interlace=scan=tff,setfield=tff";
    const codec = ["-c:v", "mpeg2video", "-pix_fmt", "yuv422p", "-flags", "+ildct+ilme", "-b:v", "20M"];
    await runFfmpeg([
      ...video("720x576", 2, "50"),
      ...SOUND,
      "-vf",
      filter,
      ...codec,
      "-timecode",
      "10:00:00:00",
      clip("pal.mxf"),
    ]);
    const made = await make(clip("pal.mxf"));
    expect(made.source).toMatchObject({ width: 1024, interlaced: true, timecode: "10:00:00:00" });
    expect(qualities(made)).toEqual(["360p", "540p"]);
    expect(await inspect(made, "540p")).toMatchObject({
      size: "960x540",
      rate: "25/1",
      tracks: ["h264", "aac", "tmcd"],
    });
  });

  test("variable rate becomes constant, high rate is halved", async () => {
    const drop = "select='not(between(mod(n,9),2,4))'";
    await runFfmpeg([...video("640x360", 3, "30"), "-vf", drop, "-vsync", "vfr", ...FAST, clip("vfr.mp4")]);
    expect(await inspect(await make(clip("vfr.mp4")), "360p")).toMatchObject({ rate: "30/1" });
    await runFfmpeg([...video("640x360", 1, "120"), ...FAST, clip("fast.mp4")]);
    expect(await inspect(await make(clip("fast.mp4")), "360p")).toMatchObject({ rate: "60/1", frames: 60 });
  });

  test.each([1.004, 0.996])(
    "sound stays with the picture where its clock runs at %d of the picture's",
    async (clock) => {
      const clicks = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.02)':s=48000:d=20";
      const sound = ["-f", "lavfi", "-i", clicks, "-af", `asetpts=PTS*${clock}`, "-c:a", "pcm_s16le"];
      await runFfmpeg([...video("640x360", 20), ...sound, ...FAST, clip("drift.mkv")]);
      const made = await make(clip("drift.mkv"));
      expect(qualities(made)).toEqual(["360p"]);
      const found = await clicksOf(made.files.get("360p") ?? "");
      expect(found).toHaveLength(20);
      for (const [second, at] of found.entries())
        expect(Math.abs(at - second * clock), `${second} s`).toBeLessThan(0.025);
    },
  );

  test("HDR is mapped to what a browser shows", async () => {
    const stated = "range=tv:color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc";
    const tags = "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv".split(" ");
    const codec = ["-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le"];
    await runFfmpeg([...video("640x360", 1), "-vf", `setparams=${stated}`, ...codec, ...tags, clip("hdr.mp4")]);
    const made = await make(clip("hdr.mp4"));
    expect(made.source).toMatchObject({ hdr: "pq", bitDepth: 10 });
    expect(await inspect(made, "360p")).toMatchObject({ colour: "bt709", frames: 24 });
  });

  test("a recording that states no duration is measured", async () => {
    await runFfmpeg([...video("640x360"), "-c:v", "libvpx", "-live", "1", "-f", "webm", clip("live.webm")]);
    const made = await make(clip("live.webm"));
    expect(made.source?.videoDurationSeconds).toBeCloseTo(2, 1);
    expect(await inspect(made, "360p")).toMatchObject({ frames: 48 });
  });
});

describe("with the builds that npm ships", () => {
  const makeWithOld = async (file: string) => {
    const old = await findBinaries({ PATH: "/nonexistent" });
    return await make(file, { binaries: old, encoder: { kind: "x264", dialect: old.dialect, reason: "test" } });
  };

  // Cut at a half frame, the last packet says that it lasts 1.5 frames.
  test.each(["0.5", "0.98", "1.3", "2.02"])("a clip whose edit list starts at %s s gets no frame twice", async (at) => {
    const sound = ["-f", "lavfi", "-i", "sine=d=3:r=48000"];
    await runFfmpeg([...video("640x360", 3, "25"), ...sound, ...FAST, clip("whole.mp4")]);
    await runFfmpeg(["-ss", at, "-i", clip("whole.mp4"), "-c", "copy", clip("cut.mp4")]);
    const made = await makeWithOld(clip("cut.mp4"));
    expect((await inspect(made, "360p")).frames).toBe(await countDecodedFrames(clip("cut.mp4")));
  });

  test("a hole in a constant rate is filled, and a variable rate becomes as many frames as with a newer build", async () => {
    const drop = (filter: string) => ["-vf", `select='${filter}'`, "-vsync", "vfr", ...FAST];
    await runFfmpeg([...video("640x360", 8, "25"), ...drop("not(between(n,50,51))"), clip("hole.mp4")]);
    expect(await inspect(await makeWithOld(clip("hole.mp4")), "360p")).toMatchObject({ frames: 200, rate: "25/1" });
    await runFfmpeg([...video("640x360", 3, "30"), ...drop("not(between(mod(n,9),2,4))"), clip("vfr.mp4")]);
    const newer = await inspect(await make(clip("vfr.mp4")), "360p");
    expect(await inspect(await makeWithOld(clip("vfr.mp4")), "360p")).toMatchObject({ ...newer });
  });

  test("a clip with sound and a timecode comes out the same shape", async () => {
    const old = await findBinaries({ PATH: "/nonexistent" });
    expect(old.dialect.frameRateModeOption).toBe("-vsync");
    await runFfmpeg([...video("1280x720"), ...SOUND, ...FAST, "-timecode", "01:00:00:00", clip("old.mov")]);
    const encoder = { kind: "x264", dialect: old.dialect, reason: "test" } as const;
    const made = await make(clip("old.mov"), { binaries: old, encoder });
    expect(qualities(made)).toEqual(["360p", "540p", "720p"]);
    expect(await inspect(made, "720p")).toEqual({
      size: "1280x720",
      frames: 48,
      rate: "24/1",
      colour: "bt709",
      rotated: false,
      tracks: ["h264", "aac", "tmcd"],
      boxes: ["ftyp", "moov", "mdat"],
    });
  });
});

describe("what is no video is refused in words", () => {
  const refused = async (file: string) => {
    const { outcome } = await make(file);
    if (outcome.ok) throw new Error("it was encoded");
    expect(outcome.failure.retryable).toBe(false);
    expect(outcome.failure.message).toMatch(/^[A-Z].*\.$/);
    return outcome.failure.code;
  };

  test("a text file by the name of .mov", async () => {
    await writeFile(clip("text.mov"), "This is not a movie. ".repeat(500));
    expect(await refused(clip("text.mov"))).toBe("INVALID_MEDIA");
  });

  test("a playlist that names another file is not followed", async () => {
    await runFfmpeg([...video("640x360", 1), ...FAST, clip("named.ts")]);
    await writeFile(
      clip("list.mov"),
      `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://${clip("named.ts")}\n#EXT-X-ENDLIST\n`,
    );
    expect(await refused(clip("list.mov"))).toBe("INVALID_MEDIA");
  });

  test("sound alone, also with a cover picture", async () => {
    await runFfmpeg([...SOUND, clip("sound.wav")]);
    expect(await refused(clip("sound.wav"))).toBe("AUDIO_ONLY");
    await runFfmpeg([...video("64x64", 1), "-frames:v", "1", clip("cover.png")]);
    const cover = ["-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "copy", "-disposition:v", "attached_pic"];
    await runFfmpeg(["-i", clip("sound.wav"), "-i", clip("cover.png"), ...cover, clip("cover.m4a")]);
    expect(await refused(clip("cover.m4a"))).toBe("AUDIO_ONLY");
  });

  test("a still image", async () => {
    await runFfmpeg([...video("640x360", 1), "-frames:v", "1", clip("still.png")]);
    await runFfmpeg([...video("640x360", 1), "-frames:v", "1", clip("still.jpg")]);
    expect(await refused(clip("still.png"))).toBe("STILL_IMAGE");
    expect(await refused(clip("still.jpg"))).toBe("STILL_IMAGE");
  });

  test("a movie that lost its end", async () => {
    await runFfmpeg([...video("640x360", 4), ...SOUND, ...FAST, clip("whole.mp4")]);
    const whole = await readFile(clip("whole.mp4"));
    await writeFile(clip("no-index.mp4"), whole.subarray(0, whole.length / 2));
    expect(await refused(clip("no-index.mp4"))).toBe("TRUNCATED");
    await runFfmpeg(["-i", clip("whole.mp4"), "-c", "copy", "-movflags", "+faststart", clip("index-first.mp4")]);
    const indexFirst = await readFile(clip("index-first.mp4"));
    await writeFile(clip("no-end.mp4"), indexFirst.subarray(0, indexFirst.length / 2));
    expect(await refused(clip("no-end.mp4"))).toBe("TRUNCATED");
  });
});
