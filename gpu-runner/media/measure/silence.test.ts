import { expect, test } from "vitest";
import { readPeaks, windowsOf } from "./silence.ts";

test("a short film is looked at whole, a longer one in windows of a second, never more than twenty", () => {
  expect(windowsOf(2)).toEqual([{ fromSeconds: 0, seconds: 20 }]);
  const minute = windowsOf(60);
  expect(minute).toHaveLength(5);
  expect(minute[0]).toEqual({ fromSeconds: 5.5, seconds: 1 });
  expect(minute.at(-1)).toEqual({ fromSeconds: 53.5, seconds: 1 });
  expect(windowsOf(7200)).toHaveLength(20);
});

test("peaks are read by track and channel; those of all channels together are passed over", () => {
  const log = [
    "[astats@t0 @ 0x55] Channel: 1",
    "[astats@t0 @ 0x55] Peak level dB: -inf",
    "[astats@t0 @ 0x55] Channel: 2",
    "[astats@t0 @ 0x55] DC offset: 0.000000",
    "[astats@t0 @ 0x55] Peak level dB: -18.063656",
    "[astats@t0 @ 0x55] Overall",
    "[astats@t0 @ 0x55] Peak level dB: -18.063656",
    "[astats@t12 @ 0x56] Channel: 1",
    "[astats@t12 @ 0x56] Peak level dB: -70.5",
  ].join("\n");
  expect(readPeaks(log)).toEqual(
    new Map([
      [0, [Number.NEGATIVE_INFINITY, -18.063656]],
      [12, [-70.5]],
    ]),
  );
});
