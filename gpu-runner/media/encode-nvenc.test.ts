/** How jobs are spread over a card that is only played (see fake-nvenc.ts): the runner's decisions, not NVENC's work. */
import { readFile } from "node:fs/promises";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { chooseEncoder, type EncoderChoice } from "./encoder-probe.ts";
import { type FakeCard, writeFakeNvenc } from "./testing/fake-nvenc.ts";
import { runFfmpeg } from "./testing/ffmpeg-clip.ts";
import {
  binaries,
  clip,
  FAST,
  inspect,
  make,
  qualities,
  SMALL_LADDER,
  SOUND,
  useJobBench,
  video,
} from "./testing/job-bench.ts";

useJobBench();
const TAGS = "-color_primaries bt709 -color_trc bt709 -colorspace bt709".split(" ");
const KIND = "h264 yuv420p 640x360 into 4";
const LADDER = ["360p", "540p", "720p", "1080p"];

beforeAll(async () => {
  await runFfmpeg([...video("640x360", 1), ...SOUND, ...FAST, ...TAGS, "-t", "1", clip("card.mp4")]);
});

let count = 0;
async function card(fake: Omit<FakeCard, "ffmpegPath">) {
  const path = clip(`fake-nvenc-${++count}`);
  await writeFakeNvenc(path, { ffmpegPath: binaries.ffmpegPath, ...fake });
  const faked = { ...binaries, ffmpegPath: path };
  const runs = async () => (await readFile(`${path}.log`, "utf8")).trim().split("\n");
  return { faked, runs, choose: () => chooseEncoder(faked, "auto", 4) };
}

const policy = {
  ...SMALL_LADDER,
  rungs: SMALL_LADDER.rungs.map((rung) => ({ ...rung, shortSidePx: rung.shortSidePx * 1.2 })),
};

describe("a card with too few sessions", () => {
  test("is found by the probe, and gets as many renditions at once as it takes, one run after the other", async () => {
    const { faked, runs, choose } = await card({ sessions: 3 });
    const encoder = await choose();
    expect(encoder).toMatchObject({ kind: "nvenc", outputsAtOnce: 3 });
    expect(encoder.reason).toContain("3 of 4 renditions at once");
    const { gpuProofs: _gpuProofs, ...onCpu } = encoder;
    const made = await make(clip("card.mp4"), { encoder: onCpu, binaries: faked, policy });
    expect(qualities(made)).toEqual(LADDER);
    expect(made.attempts).toBe(1);
    expect(await runs()).toEqual(["4 cpu job=no", "3 cpu job=no", "3 cpu job=yes", "1 cpu job=yes"]);
    for (const quality of made.files.keys()) expect((await inspect(made, quality)).frames).toBe(24);
    const percents = made.progress.map(({ percent }) => percent);
    expect(percents.toSorted((a, b) => a - b)).toEqual(percents);
    expect(made.progress.every(({ renditions }) => renditions.length === 4)).toBe(true);
  });

  test("is found in a job, where another took sessions since: fewer at once, the encoder stays", async () => {
    const { faked, runs } = await card({ sessions: 2 });
    const encoder: EncoderChoice = { kind: "nvenc", dialect: binaries.dialect, reason: "probed earlier" };
    const fewer: number[] = [];
    const onFewerOutputs = (outputs: number) => void fewer.push(outputs);
    const made = await make(clip("card.mp4"), { encoder, binaries: faked, policy, onFewerOutputs });
    expect(qualities(made)).toEqual(LADDER);
    // Not of the three that were refused too.
    expect(fewer).toEqual([2]);
    expect(await runs()).toEqual(["4 cpu job=yes", "3 cpu job=yes", "2 cpu job=yes", "2 cpu job=yes"]);
  });
});

describe("an encoder that refuses a job", () => {
  test("is probed again, and used when it works again", async () => {
    const { faked } = await card({ sessions: 0 });
    const recovered = await card({ sessions: 4 });
    let probes = 0;
    const made = await make(clip("card.mp4"), {
      encoder: { kind: "nvenc", dialect: binaries.dialect, reason: "probed earlier", outputsAtOnce: 1 },
      binaries: faked,
      policy,
      probeEncoder: async () => {
        probes++;
        await writeFakeNvenc(faked.ffmpegPath, { ffmpegPath: binaries.ffmpegPath, sessions: 4 });
        return recovered.choose().then(({ gpuProofs: _gpuProofs, ...choice }) => choice);
      },
    });
    expect(qualities(made)).toEqual(LADDER);
    expect(probes).toBe(1);
  });

  test("gives way to the CPU when it refuses again, and is not probed for ever", async () => {
    const { faked, choose, runs } = await card({ sessions: 1, refusesJobs: true });
    let probes = 0;
    const made = await make(clip("card.mp4"), {
      encoder: { kind: "nvenc", dialect: binaries.dialect, reason: "probed earlier", outputsAtOnce: 1 },
      binaries: faked,
      policy,
      probeEncoder: () => {
        probes++;
        return choose();
      },
    });
    expect(qualities(made)).toEqual(LADDER);
    expect(probes).toBe(1);
    expect((await runs()).filter((run) => run.endsWith("job=yes")).length).toBeGreaterThan(1);
  });

  test("does not hold a job that is stopped while the encoder is probed", async () => {
    const { faked } = await card({ sessions: 0 });
    const stop = new AbortController();
    const { outcome } = await make(clip("card.mp4"), {
      encoder: { kind: "nvenc", dialect: binaries.dialect, reason: "probed earlier", outputsAtOnce: 1 },
      binaries: faked,
      policy,
      signal: stop.signal,
      probeEncoder: () => {
        stop.abort();
        return new Promise(() => {});
      },
    });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "ABORTED" } });
  });

  test("fails the job where no other may be used", async () => {
    const { faked } = await card({ sessions: 0 });
    const encoder = {
      kind: "nvenc",
      dialect: binaries.dialect,
      reason: "insists",
      outputsAtOnce: 1,
      only: true,
    } as const;
    const { outcome } = await make(clip("card.mp4"), { encoder, binaries: faked, policy });
    expect(outcome).toEqual({
      ok: false,
      failure: {
        code: "ENCODER_FAILED",
        message: "FFMPEG_ENCODER=nvenc, but NVENC has no session left",
        retryable: true,
      },
    });
    const none = await make(clip("card.mp4"), {
      encoder,
      binaries: faked,
      policy,
      probeEncoder: () => Promise.reject(new Error("FFMPEG_ENCODER=nvenc, but this card has no NVENC")),
    });
    expect(none.outcome).toMatchObject({ ok: false, failure: { message: expect.stringContaining("has no NVENC") } });
  });
});

describe("the card's own graph", () => {
  beforeEach(({ skip }) => {
    const isOld = binaries.dialect.frameRateModeOption === "-vsync";
    skip(isOld, "this ffmpeg has no -fps_mode: with so old a build the runner never decodes on the card");
  });

  test("is used once it was proven on a source of that kind, and not proven again", async () => {
    const { faked, runs, choose } = await card({ sessions: 4, gpuGraph: true });
    const encoder = await choose();
    for (let job = 0; job < 2; job++) {
      const made = await make(clip("card.mp4"), { encoder, binaries: faked, policy });
      expect(qualities(made)).toEqual(LADDER);
    }
    expect(await runs()).toEqual(["4 cpu job=no", "4 gpu job=no", "4 gpu job=yes", "4 gpu job=yes"]);
    expect(encoder.gpuProofs?.entries()).toEqual([[KIND, "works"]]);
  });

  test("is not used where the proof fails: the CPU decodes and scales, NVENC encodes", async () => {
    const { faked, runs, choose } = await card({ sessions: 4 });
    const encoder = await choose();
    const made = await make(clip("card.mp4"), { encoder, binaries: faked, policy });
    expect(qualities(made)).toEqual(LADDER);
    expect(await runs()).toEqual(["4 cpu job=no", "4 gpu job=no", "4 cpu job=yes"]);
    expect(encoder.gpuProofs?.entries()).toEqual([[KIND, expect.stringContaining("Failed setup for format cuda")]]);
  });

  test("is left when it fails in a job in spite of its proof, for later jobs too", async () => {
    const { faked, runs, choose } = await card({ sessions: 4 });
    const encoder = await choose();
    encoder.gpuProofs?.remember(KIND, "works");
    const made = await make(clip("card.mp4"), { encoder, binaries: faked, policy });
    expect(qualities(made)).toEqual(LADDER);
    expect(await runs()).toEqual(["4 cpu job=no", "4 gpu job=yes", "4 cpu job=yes"]);
    expect(encoder.gpuProofs?.entries()).toEqual([[KIND, expect.stringContaining("failed in a job")]]);
  });

  test.each(["fails", "cuts", "hangs"] as const)(
    "is left for the CPU's, in new uploads, when it %s after the run has begun",
    async (how) => {
      const { faked, runs, choose } = await card({ sessions: 4, gpuGraph: true, spoils: { graph: "gpu", how } });
      const encoder = await choose();
      const stallTimeoutMs = how === "hangs" ? 8_000 : 120_000;
      const made = await make(clip("card.mp4"), { encoder, binaries: faked, policy, stallTimeoutMs });
      expect(qualities(made)).toEqual(LADDER);
      expect(made.attempts).toBe(2);
      for (const quality of made.files.keys()) expect((await inspect(made, quality)).frames).toBe(24);
      const jobs = (await runs()).filter((run) => run.endsWith("job=yes"));
      expect(jobs).toEqual(["4 gpu job=yes", "4 cpu job=yes"]);
      expect(encoder.gpuProofs?.recall(KIND)).toContain("failed in a job");
    },
  );

  test("keeps its proof where the CPU's fails too: the fault is the source's, and told in the CPU's words", async () => {
    const { faked, choose } = await card({ sessions: 4, gpuGraph: true, spoils: { graph: "any", how: "cuts" } });
    const encoder = await choose();
    const { outcome } = await make(clip("card.mp4"), { encoder, binaries: faked, policy });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "TRUNCATED", retryable: false } });
    expect(encoder.gpuProofs?.recall(KIND)).toBe("works");
  });

  test("is tried again in the next job where a session or the time was all that the proof lacked", async () => {
    const { faked, choose } = await card({ sessions: 4, gpuGraph: true });
    const encoder = await choose();
    await writeFakeNvenc(faked.ffmpegPath, { ffmpegPath: binaries.ffmpegPath, sessions: 3, gpuGraph: true });
    const made = await make(clip("card.mp4"), { encoder, binaries: faked, policy });
    expect(qualities(made)).toEqual(LADDER);
    expect(encoder.gpuProofs?.recall(KIND)).toBeNull();
  });
});
