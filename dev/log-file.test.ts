import { closeSync, mkdtempSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { followLog, lastLines, openLogFile } from "./log-file.ts";

const directory = mkdtempSync(join(tmpdir(), "log-file-test-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("only this run's lines are its last words", () => {
  const path = join(directory, "words.log");
  writeFileSync(path, "of the run before\n");
  const { fd, offset } = openLogFile(path);
  writeSync(fd, "one\n\ntwo\nthree\n");
  closeSync(fd);
  expect(lastLines(path, offset, 2)).toEqual(["two", "three"]);
  expect(lastLines(path, offset, 9)).toEqual(["one", "two", "three"]);
  expect(lastLines(join(directory, "none.log"), 0, 2)).toEqual([]);
});

test("lines are told whole, also when they and their characters come in pieces", () => {
  const path = join(directory, "follow.log");
  const { fd, offset } = openLogFile(path);
  const lines: string[] = [];
  const end = followLog(path, offset, (line) => lines.push(line));
  const bytes = Buffer.from(`häl${"x".repeat(70_000)}f\nte\nrest`);
  writeSync(fd, bytes);
  closeSync(fd);
  end();
  expect(lines).toEqual([`häl${"x".repeat(70_000)}f`, "te"]);
});
