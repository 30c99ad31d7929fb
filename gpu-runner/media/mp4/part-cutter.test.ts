import { describe, expect, test } from "vitest";
import { createPartBuffers } from "./part-buffer.ts";
import { type Part, PartCutter } from "./part-cutter.ts";

describe("memory of parts", () => {
  test("is used again as soon as a part is released, and never before", async () => {
    const parts: Part[] = [];
    const cutter = new PartCutter(2, 4, createPartBuffers(1), async (part) => void parts.push(part));
    const memory = (at: number) => parts[at]?.bytes.buffer;
    await cutter.write(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect(parts.map(({ n, bytes }) => [n, [...bytes]])).toEqual([
      [2, [1, 2, 3, 4]],
      [3, [5, 6, 7, 8]],
    ]);
    expect(memory(1)).not.toBe(memory(0));
    parts[0]?.release();
    await cutter.write(Uint8Array.of(9, 10));
    await cutter.end();
    expect(memory(2)).toBe(memory(0));
    expect(parts.slice(1).map(({ bytes }) => [...bytes])).toEqual([
      [5, 6, 7, 8],
      [9, 10],
    ]);
  });

  test("is shared by renditions, by size", () => {
    const buffers = createPartBuffers(1);
    const first = buffers.take(8);
    buffers.giveBack(first);
    expect(buffers.take(4)).not.toBe(first);
    expect(buffers.take(8)).toBe(first);
    expect(buffers.take(8)).not.toBe(first);
  });

  test("given back twice is a mistake, told before two parts share it", () => {
    const buffers = createPartBuffers(1);
    const buffer = buffers.take(8);
    buffers.giveBack(buffer);
    expect(() => buffers.giveBack(buffer)).toThrow("twice");
  });

  test("is let go where no stream is left that may take it, also when it comes back later", async () => {
    const buffers = createPartBuffers(2);
    const [first, second, third] = [buffers.take(8), buffers.take(8), buffers.take(8)];
    buffers.giveBack(first);
    buffers.giveBack(second);
    await new PartCutter(1, 8, buffers, async () => undefined).end();
    expect([first.length, second.length]).toEqual([8, 0]);
    await new PartCutter(1, 8, buffers, async () => undefined).end();
    buffers.giveBack(third);
    expect([first.length, third.length]).toEqual([0, 0]);
  });
});
