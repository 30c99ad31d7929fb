import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { RunningJob } from "./job-board.ts";
import { createLiveView, plainProgress, sizeText, type ViewState, viewLines } from "./live-view.ts";
import { Screen } from "./testing/screen.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const job: RunningJob = {
  fileId: "file-1",
  jobId: "job-1",
  startedAtMs: 0,
  lease: { leaseMs: 30_000, sinceRenewalMs: () => 0 },
  progress: {
    percent: 62.4,
    fps: 118.2,
    speed: 4.7,
    etaSeconds: 95,
    renditions: [
      { quality: "360p", percent: 100, uploadedBytes: 1_234_567 },
      { quality: "1080p", percent: 24.9, uploadedBytes: 0 },
    ],
  },
  counts: { sourceBytes: 52_000_000, sourceRetries: 0, freshUrls: 0, ffmpegRuns: 1 },
  storedBytes: 1_234_567,
};
const state: ViewState = {
  runnerId: "runner-1",
  encoder: "libx264, as FFMPEG_ENCODER asks",
  stopped: null,
  jobs: [job],
};

test("a job is a line of figures, and a bar for each rendition", () => {
  expect(viewLines(state, 120)).toEqual([
    "runner-1 · libx264, as FFMPEG_ENCODER asks",
    "file-1   62 % · 118 fps · 4.7× · 1:35 left · in 52.0 MB · out 1.2 MB",
    `   360p ${"━".repeat(24)} 100 % · 1.2 MB`,
    `  1080p ${"━".repeat(5)}${"─".repeat(19)}  24 % · 0 B`,
  ]);
});

test("it says what goes on before pictures come, and when nothing does", () => {
  expect(viewLines({ ...state, jobs: [] }, 120)[0]).toContain("waiting for jobs");
  expect(viewLines({ ...state, jobs: [], stopped: "failed 3 assets" }, 120)[0]).toContain("stopped: failed 3 assets");
  expect(viewLines({ ...state, jobs: [{ ...job, progress: null }] }, 120)[1]).toContain("probing");
  expect(viewLines({ ...state, jobs: [{ ...job, progress: null, lease: null }] }, 120)[1]).toContain("claiming");
});

test("no line is wider than the terminal, whatever its width", () => {
  const wide = { ...state, runnerId: "r".repeat(64), jobs: [{ ...job, fileId: "f".repeat(64) }] };
  for (let columns = 1; columns <= 140; columns += 1) {
    for (const line of viewLines(wide, columns)) expect(line.length, `${columns}`).toBeLessThanOrEqual(columns);
  }
});

test("on a narrow terminal it still says what goes on, and the bars give way to their figures", () => {
  expect(viewLines({ ...state, stopped: "the store refuses all" }, 39)).toEqual([
    "runner-1 · stopped: the store refuses …",
    "file-1   62 % · 118 fps · 4.7× · 1:35 …",
    `   360p ${"━".repeat(14)} 100 % · 1.2 MB`,
    `  1080p ${"━".repeat(3)}${"─".repeat(11)}  24 % · 0 B`,
  ]);
});

test("what a program said in a reason takes one line, one column a character", () => {
  const stopped = "exit 1:\r\n\u001b[31m素材\u001b[0m\tno 🎬 e\u0301";
  expect(viewLines({ ...state, encoder: "x264", jobs: [], stopped }, 80)).toEqual([
    "runner-1 · stopped: exit 1: [31m?? [0m no ? e? · x264",
  ]);
});

test("the block is drawn over itself, makes room for a log line, and is gone at the end", () => {
  const written: string[] = [];
  const view = createLiveView({ isTTY: true, columns: 100, write: (text) => written.push(text) }, () => state);
  vi.advanceTimersByTime(250);
  expect(written.at(-1)?.split("\n")).toHaveLength(5);
  expect(written.at(-1)).not.toContain("\u001b[4A");
  vi.advanceTimersByTime(250);
  expect(written.at(-1)?.startsWith("\u001b[4A\r")).toBe(true);
  view.clear();
  expect(written.at(-1)).toBe("\u001b[4A\r\u001b[J");
  const before = written.length;
  view.clear();
  expect(written).toHaveLength(before);
  view.close();
  vi.advanceTimersByTime(1_000);
  expect(written).toHaveLength(before);
});

test("nothing is drawn for a terminal that stands still", () => {
  const written: string[] = [];
  const terminal = { isTTY: true, writableNeedDrain: true, write: (text: string) => written.push(text) };
  const view = createLiveView(terminal, () => state);
  vi.advanceTimersByTime(1_000);
  expect(written).toEqual([]);
  terminal.writableNeedDrain = false;
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(1);
  view.close();
});

test("log lines scroll above it, a terminal that changes its size keeps no rest of it, and the end leaves the log alone", () => {
  const screen = new Screen(80, 24);
  const view = createLiveView(screen, () => state);
  const say = (line: string) => {
    view.clear();
    screen.write(`${line}\n`);
  };
  const log = ["one", "two"];
  say("one");
  vi.advanceTimersByTime(1_000);
  for (const columns of [40, 100, 21, 80]) {
    screen.resize(columns, 20);
    vi.advanceTimersByTime(250);
    expect(screen.text()).toEqual(["one", ...viewLines(state, columns - 1)]);
  }
  say("two");
  vi.advanceTimersByTime(250);
  expect(screen.text()).toEqual([...log, ...viewLines(state, 79)]);
  view.close();
  expect(screen.text()).toEqual(log);
  expect(screen.wraps).toBe(0);
});

test("where nobody watches nothing is drawn, and progress is logged now and then", () => {
  const written: string[] = [];
  const pipe = { write: (text: string) => written.push(text) };
  const view = createLiveView(pipe, () => state);
  vi.advanceTimersByTime(1_000);
  view.clear();
  view.close();
  expect(written).toEqual([]);
  let now = 0;
  const isDue = plainProgress(pipe, () => now);
  const answers = [0, 5_000, 10_000, 10_500, 20_000].map((at) => {
    now = at;
    return isDue();
  });
  expect(answers).toEqual([false, false, true, false, true]);
  expect(plainProgress({ ...pipe, isTTY: true }, () => 1e9)()).toBe(false);
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1_234_567, "1.2 MB"],
  [345_000_000, "345 MB"],
  [999_950, "1.0 MB"],
])("%i bytes are %s", (sizeBytes, text) => expect(sizeText(sizeBytes)).toBe(text));
