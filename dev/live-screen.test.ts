/** The tools' live lines on a terminal: cut to its width, drawn over themselves, whole at the end, the cursor given back. */
import { stripVTControlCharacters } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Screen } from "../gpu-runner/testing/screen.ts";
import { type LiveItem, openLiveScreen } from "./live-screen.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const painted = (columns: number) => `\u001b[1m${"a".repeat(columns - 3)}\u001b[22m end`;
const item: LiveItem = {
  lines: (columns) => [painted(columns), "short"],
  summary: () => ({ stage: "x", detail: "" }),
};

/** Colours are the terminal's own affair. */
class PlainScreen extends Screen {
  override write(text: string): boolean {
    return super.write(text.replace(/\p{Cc}\[\d*m/gu, ""));
  }
}

const openOn = (screen: Screen, items: readonly LiveItem[]) =>
  openLiveScreen(screen as unknown as NodeJS.WriteStream, items);

test("on a terminal of 40 columns, and on narrower ones, no line wraps", () => {
  const screen = new PlainScreen(40, 24);
  screen.write("$\n");
  const live = openOn(screen, [item, item]);
  for (const columns of [40, 12, 200]) {
    screen.resize(columns);
    vi.advanceTimersByTime(100);
    const [first = ""] = screen.text().slice(1);
    expect(screen.text()).toEqual(["$", first, "short", "", first, "short"]);
    const whole = stripVTControlCharacters(painted(Math.max(40, columns - 1)));
    expect(first).toBe(whole.length < columns ? whole : `${whole.slice(0, columns - 2)}…`);
  }
  live.finish();
  expect(screen.wraps).toBe(0);
});

test("of many lines the last are in view until the end, which leaves them all", () => {
  const screen = new PlainScreen(60, 4);
  const many: LiveItem = { ...item, lines: () => ["1", "2", "3", "4", "5"] };
  const live = openOn(screen, [many]);
  vi.advanceTimersByTime(500);
  expect(screen.text()).toEqual(["3", "4", "5"]);
  live.finish();
  expect(screen.text()).toEqual(["1", "2", "3", "4", "5"]);
});

test("the cursor is hidden meanwhile, and shown again at the end and when the process ends before it", () => {
  const screen = new PlainScreen(60, 10);
  const before = process.listenerCount("exit");
  const live = openOn(screen, [item]);
  expect(screen.cursorHidden).toBe(true);
  const [onExit] = process.listeners("exit").slice(before);
  live.finish();
  expect(screen.cursorHidden).toBe(false);
  expect(process.listenerCount("exit")).toBe(before);
  screen.cursorHidden = true;
  onExit?.(0);
  expect(screen.cursorHidden).toBe(false);
});
