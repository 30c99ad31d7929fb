import { stat, writeFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { defaultLadder } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { childrenOf } from "../testing/child-process.ts";
import type { EncodeCounts } from "./encode-job.ts";
import { decodedFrames, runFfmpeg } from "./testing/ffmpeg-clip.ts";
import { binaries, clip, FAST, make, qualities, SMALL_LADDER, SOUND, useJobBench, video } from "./testing/job-bench.ts";

useJobBench();

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

  test("a byte that could not be delivered fails the job, though ffmpeg ends well with all that it was given", async () => {
    const endsWell = clip("always-well");
    await writeFile(endsWell, `#!/bin/sh\n${binaries.ffmpegPath} "$@"\nexit 0\n`, { mode: 0o700 });
    let encoding = false;
    const { outcome } = await make(clip("trouble.mp4"), {
      binaries: { ...binaries, ffmpegPath: endsWell },
      faults: { status: () => (encoding ? 404 : null) },
      plan: async (source) => {
        encoding = true;
        return planLadder(source, defaultLadder);
      },
    });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ORIGINAL_MISSING", retryable: false } });
  });

  test("what was read is counted, whatever the end", async () => {
    const counts: EncodeCounts[] = [];
    const onCounts = (now: EncodeCounts) => void counts.push(now);
    const whole = await make(clip("trouble.mp4"), { onCounts });
    expect(counts.at(-1)).toMatchObject({ sourceRetries: 0, ffmpegRuns: 1 });
    expect(counts.at(-1)?.sourceBytes).toBeGreaterThanOrEqual((await stat(clip("trouble.mp4"))).size);
    // What a reader left behind on the way, when it jumped, may have left the store.
    expect(counts.at(-1)?.sourceBytes).toBeLessThanOrEqual(whole.sentBytes);
    const gone = await make(clip("trouble.mp4"), { onCounts, faults: { status: (n) => (n > 2 ? 404 : null) } });
    expect(gone.outcome.ok).toBe(false);
    expect(counts.at(-1)?.sourceBytes).toBeGreaterThan(0);
    expect(counts.at(-1)?.sourceBytes).toBeLessThanOrEqual(gone.sentBytes);
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

  test("a slow store is not taken for a stalled encoder, and its own failure is the job's", async () => {
    const plan = async (source: SourceProbe) =>
      planLadder(source, defaultLadder).map((rung) => ({ ...rung, partSizeBytes: 32 * 1024 }));
    const refusal = { code: "WASABI_UNAVAILABLE", message: "The store took too long.", retryable: true };
    const { outcome } = await make(clip("trouble.mp4"), {
      plan,
      stallTimeoutMs: 3_000,
      sink: () => ({
        part: async () => {
          await new Promise((resolve) => setTimeout(resolve, 8_000));
          throw Object.assign(new Error(refusal.message), refusal);
        },
      }),
    });
    expect(outcome).toEqual({ ok: false, failure: refusal });
  });

  test("a store that refuses reads for a while is waited for", async () => {
    let refusals = 0;
    const { outcome } = await make(clip("trouble.mp4"), {
      stallTimeoutMs: 3_000,
      faults: { status: () => (refusals-- > 0 ? 503 : null) },
      plan: async (source) => {
        // ffmpeg's first reads; the probe's went well.
        refusals = 5;
        return planLadder(source, defaultLadder);
      },
    });
    expect(outcome).toMatchObject({ ok: true });
  });

  test("an encoder that does nothing does not hold the job for ever", async () => {
    const idle = clip("idle-ffmpeg");
    await writeFile(idle, "#!/bin/sh\nexec sleep 600\n", { mode: 0o700 });
    const { outcome } = await make(clip("trouble.mp4"), {
      stallTimeoutMs: 500,
      binaries: { ...binaries, ffmpegPath: idle },
    });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_STALLED", retryable: true } });
  });

  test("aborting stops everything at once", async () => {
    const abort = new AbortController();
    const sink = () => ({ part: () => new Promise<void>(() => abort.abort()) });
    const { outcome } = await make(clip("trouble.mp4"), { signal: abort.signal, sink });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ABORTED" } });
  });

  test("an NVENC that refuses the job gives way to the CPU, in a new upload", async () => {
    // On a machine that has NVENC this shows only that it works.
    const encoder = { kind: "nvenc", dialect: binaries.dialect, reason: "test" } as const;
    const made = await make(clip("trouble.mp4"), { encoder });
    expect(qualities(made)).toEqual(["360p"]);
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
    let told: Promise<number> | null = null;
    const tell = async () => {
      const ffmpegs = (await childrenOf(process.pid)).filter(({ name }) => name === "ffmpeg");
      for (const { pid } of ffmpegs) process.kill(pid, "SIGTERM");
      return ffmpegs.length;
    };
    const { outcome } = await make(clip("long.mp4"), {
      onProgress: () => {
        told ??= tell();
      },
    });
    expect(await told).toBe(1);
    const message = "ffmpeg ended with status 255.";
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_FAILED", message, retryable: true } });
  });

  test("a stream that is whole but does not decode is never a rendition", async () => {
    const careless = clip("careless-ffmpeg");
    // As the encoder's trouble would be: boxes and tables are right, what is in them is not.
    const script = `#!/bin/bash\nargs=()\nfor arg in "$@"; do [ "$arg" = -movflags ] && args+=(-bsf:v noise=amount=40); args+=("$arg"); done\nexec ffmpeg "\${args[@]}"\n`;
    await writeFile(careless, script, { mode: 0o700 });
    const told: string[] = [];
    const { outcome } = await make(clip("trouble.mp4"), {
      binaries: { ...binaries, ffmpegPath: careless },
      onRendition: ({ quality }) => void told.push(quality),
    });
    expect(told).toEqual([]);
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ENCODER_FAILED", retryable: true } });
    expect(outcome).toMatchObject({
      failure: { message: expect.stringMatching(/^The 360p rendition is damaged: its beginning does not decode: /) },
    });
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
  });
});
