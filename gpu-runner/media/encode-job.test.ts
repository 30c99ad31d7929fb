import { execFileSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultLadder, type LadderPolicy, type Quality } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { type Binaries, findBinaries } from "./binaries.ts";
import { type EncodeJobOptions, type EncodeOutcome, type EncodeProgress, encodeJob } from "./encode-job.ts";
import { children, concat } from "./mp4/box.ts";
import { decodedFrames, makeTestFolder, probeJson, runFfmpeg } from "./testing/ffmpeg-clip.ts";
import { type OriginFaults, startOrigin } from "./testing/origin-server.ts";

const SMALL_LADDER: LadderPolicy = {
  ...defaultLadder,
  rungs: defaultLadder.rungs.map((rung) => ({ ...rung, shortSidePx: rung.shortSidePx / 4 })),
};

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let binaries: Binaries;
beforeAll(async () => {
  folder = await makeTestFolder();
  binaries = await findBinaries(process.env);
});
afterAll(() => folder.remove());

const clip = (name: string) => join(folder.path, name);
const video = (size: string, seconds = 2, rate = "24") => [
  "-f",
  "lavfi",
  "-i",
  `testsrc2=s=${size}:r=${rate}:d=${seconds}`,
];
const SOUND = ["-f", "lavfi", "-i", "sine=d=2:r=48000"];
const FAST = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2"];

type Made = {
  outcome: EncodeOutcome;
  source: SourceProbe | null;
  files: Map<Quality, string>;
  progress: EncodeProgress[];
  /** Part numbers as they were stored. */
  order: number[];
  attempts: number;
  requests: number;
  signatures: number;
};

type Extra = Partial<
  Pick<EncodeJobOptions, "skip" | "signal" | "onProgress" | "stallTimeoutMs" | "binaries" | "plan" | "sink">
> & {
  faults?: OriginFaults;
  policy?: LadderPolicy;
};

async function make(file: string, { faults, policy = defaultLadder, ...extra }: Extra = {}): Promise<Made> {
  const origin = await startOrigin(file, faults);
  const before = await leftovers();
  const parts = new Map<Quality, Map<number, Uint8Array>>();
  const made: Omit<Made, "outcome" | "requests" | "signatures"> = {
    source: null,
    files: new Map(),
    progress: [],
    order: [],
    attempts: 0,
  };
  const outcome = await encodeJob({
    source: { url: origin.location },
    plan: async (source) => planLadder(source, policy),
    skip: [],
    sink: ({ quality }, attempt) => {
      const mine = new Map<number, Uint8Array>();
      parts.set(quality, mine);
      made.attempts = Math.max(made.attempts, attempt);
      return {
        part: async (n, bytes) => {
          mine.set(n, bytes);
          made.order.push(n);
        },
      };
    },
    encoder: { kind: "x264", dialect: binaries.dialect, reason: "test" },
    binaries,
    onProbe: (source) => {
      made.source = source;
    },
    onProgress: (progress) => made.progress.push(progress),
    signal: new AbortController().signal,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    ...extra,
  });
  await origin.close();
  expect(await leftovers()).toEqual(before);
  if (outcome.ok) {
    for (const { quality, sizeBytes } of outcome.renditions) {
      const bytes = concat([...(parts.get(quality) ?? [])].toSorted(([a], [b]) => a - b).map(([, part]) => part));
      expect(bytes.length).toBe(sizeBytes);
      const path = clip(`made-${quality}.mp4`);
      await writeFile(path, bytes);
      made.files.set(quality, path);
    }
  }
  return { ...made, outcome, requests: origin.requests(), signatures: origin.signatures() };
}

async function leftovers(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith("encode-"));
}

/** Codec, size, frames and boxes of a finished file, decoded to its end. */
async function inspect(made: Made, quality: Quality) {
  const path = made.files.get(quality) ?? "";
  const { streams } = (await probeJson(path, ["-show_streams", "-count_frames"])) as {
    streams: Record<string, unknown>[];
  };
  await decodedFrames(path);
  const picture = streams.find((stream) => stream.codec_type === "video");
  return {
    size: `${picture?.width}x${picture?.height}`,
    frames: Number(picture?.nb_read_frames),
    rate: picture?.r_frame_rate,
    colour: picture?.color_space,
    rotated: picture?.side_data_list !== undefined,
    tracks: streams.map((stream) => stream.codec_name ?? stream.codec_tag_string),
    boxes: children(await readFile(path)).map((box) => box.type),
  };
}

function qualities(made: Made): Quality[] {
  if (!made.outcome.ok) throw new Error(JSON.stringify(made.outcome.failure));
  return made.outcome.renditions.map((rendition) => rendition.quality);
}

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
    await runFfmpeg(["-i", clip("flat.mp4"), "-c", "copy", "-metadata:s:v:0", "rotate=90", clip("turned.mp4")]);
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
    expect(await inspect(await make(clip("vfr.mp4")), "360p")).toMatchObject({ rate: "24000/1001" });
    await runFfmpeg([...video("640x360", 1, "120"), ...FAST, clip("fast.mp4")]);
    expect(await inspect(await make(clip("fast.mp4")), "360p")).toMatchObject({ rate: "60/1", frames: 60 });
  });

  test("HDR is mapped to what a browser shows", async () => {
    const tags = "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv".split(" ");
    const codec = ["-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le"];
    await runFfmpeg([...video("640x360", 1), ...codec, ...tags, clip("hdr.mp4")]);
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

describe("trouble on the way", () => {
  beforeAll(async () => {
    await runFfmpeg([...video("854x480", 4), ...SOUND, ...FAST, "-qp", "10", clip("trouble.mp4")]);
  });

  test("cuts, expired URLs and stalls change nothing in what comes out", async () => {
    const calm = await make(clip("trouble.mp4"));
    const expected = await decodedFrames(calm.files.get("360p") ?? "");
    const faults = { cutAfterBytes: 50_000, cuts: 4, requestsPerSignature: 3 };
    const rough = await make(clip("trouble.mp4"), { faults });
    expect(qualities(rough)).toEqual(["360p"]);
    expect(await decodedFrames(rough.files.get("360p") ?? "")).toBe(expected);
    expect(rough.signatures).toBeGreaterThan(1);
  });

  test("an original that is gone, or was replaced, is named so", async () => {
    const gone = await make(clip("trouble.mp4"), { faults: { status: () => 404 } });
    expect(gone.outcome).toMatchObject({ ok: false, failure: { code: "ORIGINAL_MISSING", retryable: false } });
    const replaced = await make(clip("trouble.mp4"), { faults: { status: (n) => (n > 2 ? 412 : null) } });
    expect(replaced.outcome).toMatchObject({ ok: false, failure: { code: "SOURCE_CHANGED", retryable: false } });
    expect(JSON.stringify([gone.outcome, replaced.outcome])).not.toMatch(/secret|http:/);
  });

  test("renditions that are safe are not made again", async () => {
    const made = await make(clip("trouble.mp4"), { policy: SMALL_LADDER, skip: ["360p", "540p", "720p"] });
    expect(qualities(made)).toEqual(["1080p"]);
    expect(qualities(await make(clip("trouble.mp4"), { skip: ["360p"] }))).toEqual([]);
  });

  test("many small parts are the same file, and come with the first one last", async () => {
    const whole = await make(clip("trouble.mp4"));
    const cut = await make(clip("trouble.mp4"), {
      plan: async (source) => planLadder(source, defaultLadder).map((plan) => ({ ...plan, partSizeBytes: 32 * 1024 })),
    });
    const count = cut.order.length;
    expect(count).toBeGreaterThan(4);
    expect(cut.outcome).toMatchObject({ renditions: [{ parts: count }] });
    expect(cut.order.at(-1)).toBe(1);
    expect(cut.order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    expect(await decodedFrames(cut.files.get("360p") ?? "")).toBe(await decodedFrames(whole.files.get("360p") ?? ""));
  });

  test("a sink that fails ends the job with the sink's own failure", async () => {
    const failure = { code: "LEASE_LOST", message: "The lease is another runner's now.", retryable: true };
    const { outcome } = await make(clip("trouble.mp4"), {
      sink: () => ({ part: () => Promise.reject(Object.assign(new Error(failure.message), failure)) }),
    });
    expect(outcome).toEqual({ ok: false, failure });
  });

  test("a sink that never answers does not hold the job for ever", async () => {
    const { outcome } = await make(clip("trouble.mp4"), {
      stallTimeoutMs: 1500,
      sink: () => ({ part: () => new Promise(() => {}) }),
    });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_STALLED", retryable: true } });
  });

  test("aborting stops everything at once", async () => {
    const abort = new AbortController();
    const sink = () => ({ part: () => new Promise<void>(() => abort.abort()) });
    const { outcome } = await make(clip("trouble.mp4"), { signal: abort.signal, sink });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ABORTED" } });
  });

  test("an ffmpeg that cannot be run, or fails, says why", async () => {
    const broken = { ...binaries, ffmpegPath: "/nonexistent/ffmpeg" };
    const { outcome } = await make(clip("trouble.mp4"), { binaries: broken });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_FAILED" } });
    const refusing = await make(clip("trouble.mp4"), {
      plan: async (source) => planLadder(source, defaultLadder).map((plan) => ({ ...plan, width: 641 })),
    });
    expect(refusing.outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_FAILED" } });
    expect(refusing.outcome).toMatchObject({
      failure: { message: expect.stringMatching(/ffmpeg ended with status.*641/) },
    });
  });

  test("an ffmpeg that is told to end leaves a valid file, which is not taken for the whole one", async () => {
    await runFfmpeg([...video("640x360", 40), ...FAST, clip("long.mp4")]);
    let told = false;
    const { outcome } = await make(clip("long.mp4"), {
      onProgress: () => {
        if (told) return;
        told = true;
        execFileSync("pkill", ["-TERM", "-P", String(process.pid), "-x", "ffmpeg"]);
      },
    });
    expect(told).toBe(true);
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_FAILED", retryable: true } });
  });

  test("tables that outgrow their room are made room for, in a new upload", async () => {
    const plans = async (source: SourceProbe) =>
      planLadder(source, defaultLadder).map((plan) => ({
        ...plan,
        partSizeBytes: 16 * 1024,
        // Promises one frame, so that the room planned for its tables is far too small.
        expectedFrames: 1,
        expectedDurationSeconds: 0.04,
      }));
    await runFfmpeg([...video("96x54", 120, "60"), ...FAST, clip("many.mp4")]);
    const made = await make(clip("many.mp4"), { plan: plans });
    expect(made.attempts).toBe(2);
    expect(made.outcome).toMatchObject({ ok: true, renditions: [{ frames: 7200 }] });
  }, 120_000);
});
