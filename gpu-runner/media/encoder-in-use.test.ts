import { expect, test } from "vitest";
import { encoderInUse } from "./encoder-in-use.ts";
import type { EncoderChoice } from "./encoder-probe.ts";

const dialect = { frameRateModeOption: "-fps_mode", bFrameReferences: true } as const;
const nvenc: EncoderChoice = { kind: "nvenc", dialect, reason: "NVENC" };
const x264: EncoderChoice = { kind: "x264", dialect, reason: "no session left" };

function start(answers: (EncoderChoice | Error)[], first = nvenc) {
  let now = 0;
  let probes = 0;
  const changes: string[] = [];
  const at = (ms: number) => {
    now = ms;
  };
  const encoder = encoderInUse({
    first,
    probe: async () => {
      const answer = answers[probes++] ?? new Error("no more answers");
      if (answer instanceof Error) throw answer;
      return answer;
    },
    retryAfterMs: 1_000,
    nowMs: () => now,
    onChange: ({ kind }) => changes.push(kind),
  });
  return { encoder, changes, probes: () => probes, at };
}

test("jobs that are refused together share one probe", async () => {
  const { encoder, changes, probes } = start([x264]);
  const both = await Promise.all([encoder.probeAgain(), encoder.probeAgain()]);
  expect(both).toEqual([x264, x264]);
  expect(probes()).toBe(1);
  expect(encoder.current()).toBe(x264);
  expect(changes).toEqual(["x264"]);
});

test("a lost encoder is looked for at a later job, not at every one, and is back when it works again", async () => {
  const { encoder, changes, probes, at } = start([x264, x264, nvenc]);
  await encoder.probeAgain();
  at(500);
  expect(await encoder.forJob()).toBe(x264);
  expect(probes()).toBe(1);
  at(1_000);
  expect(await encoder.forJob()).toBe(x264);
  at(1_500);
  expect(await encoder.forJob()).toBe(x264);
  expect(probes()).toBe(2);
  at(2_000);
  expect(await encoder.forJob()).toBe(nvenc);
  at(9_000);
  expect(await encoder.forJob()).toBe(nvenc);
  expect(probes()).toBe(3);
  expect(changes).toEqual(["x264", "nvenc"]);
});

test("what was never there is not looked for", async () => {
  const { encoder, probes, at } = start([], x264);
  at(1e9);
  expect(await encoder.forJob()).toBe(x264);
  expect(probes()).toBe(0);
});

test("where no other may be used, the job that asks is told why, and later ones go on trying", async () => {
  const gone = new Error("FFMPEG_ENCODER=nvenc, but this card has no NVENC");
  const { encoder } = start([gone, nvenc]);
  await expect(encoder.probeAgain()).rejects.toBe(gone);
  expect(encoder.current()).toBe(nvenc);
  expect(await encoder.probeAgain()).toBe(nvenc);
});
