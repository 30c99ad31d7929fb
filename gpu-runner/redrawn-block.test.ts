/** A block on a terminal that scrolls, wraps and changes its size: drawn over itself, and nothing else is touched. */
import { expect, test } from "vitest";
import { blockColumns, createRedrawnBlock } from "./redrawn-block.ts";
import { Screen } from "./testing/screen.ts";

const blockOn = (screen: Screen) => createRedrawnBlock(screen, (line) => line.length);

test("it is drawn over itself, longer or shorter, below what was said before", () => {
  const screen = new Screen(20, 10);
  screen.write("$ run\n");
  const block = blockOn(screen);
  block.draw(["one", "two", "three"]);
  block.draw(["ONE", "t"]);
  expect(screen.text()).toEqual(["$ run", "ONE", "t"]);
  block.draw(["1", "2", "3", "4"]);
  expect(screen.text()).toEqual(["$ run", "1", "2", "3", "4"]);
  block.clear();
  screen.write("a line of the log that takes two rows\n");
  block.draw(["below"]);
  expect(screen.text()).toEqual(["$ run", "a line of the log th", "at takes two rows", "below"]);
  block.clear();
  block.clear();
  expect(screen.text()).toHaveLength(3);
});

test.each([
  ["narrower", 40, 13],
  ["much narrower", 40, 3],
  ["wider", 40, 100],
  ["of the same width", 40, 40],
])("a terminal that has become %s keeps no rest of it", (_name, before, after) => {
  const screen = new Screen(before, 50);
  screen.write("$\n");
  const block = blockOn(screen);
  const lines = () => ["a", "b".repeat(blockColumns(screen)), "", "c".repeat(Math.ceil(blockColumns(screen) / 2))];
  block.draw(lines());
  screen.resize(after);
  block.draw(lines());
  expect(screen.text()).toEqual(["$", ...lines()]);
  expect(screen.wraps).toBe(0);
  block.clear();
  expect(screen.text()).toEqual(["$"]);
});

test("of more lines than are in view it draws those that are, and leaves all of them in the end", () => {
  const screen = new Screen(20, 5);
  const block = blockOn(screen);
  const lines = ["1", "2", "3", "4", "5", "6", "7"];
  for (let frame = 0; frame < 3; frame += 1) block.draw(lines);
  expect(screen.text()).toEqual(["1", "2", "3", "4"]);
  block.leave(lines);
  expect(screen.text()).toEqual(lines);
  block.draw(["another block"]);
  expect(screen.text()).toEqual([...lines, "another block"]);
});

test("a terminal that tells no size is taken for one of 80 by 24", () => {
  const written: string[] = [];
  const block = createRedrawnBlock({ write: (text) => written.push(text) }, (line) => line.length);
  block.draw(Array.from({ length: 30 }, () => "x".repeat(79)));
  expect(written[0]?.split("\n")).toHaveLength(24);
  block.clear();
  expect(written[1]).toBe("\u001b[23A\r\u001b[J");
});
