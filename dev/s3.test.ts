import fc from "fast-check";
import { expect, test } from "vitest";
import { cutParts, encodeKey, partSizeFor } from "./s3.ts";

const mebibyte = 1024 * 1024;

async function* emit(chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

test("parts are equal but the last, and hold the bytes in order, however the stream was cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }),
      fc.integer({ min: 1, max: 64 }),
      async (chunks, partSizeBytes) => {
        const parts: Buffer[] = [];
        for await (const part of cutParts(emit(chunks), partSizeBytes)) parts.push(Buffer.from(part));
        for (const part of parts.slice(0, -1)) expect(part).toHaveLength(partSizeBytes);
        for (const part of parts) expect(part.length).toBeGreaterThan(0);
        expect(Buffer.concat(parts)).toEqual(Buffer.concat(chunks));
      },
    ),
  );
});

test("an object never needs more than 10,000 parts", () => {
  expect(partSizeFor(1)).toBe(8 * mebibyte);
  const largest = 5 * 1024 ** 4;
  expect(Math.ceil(largest / partSizeFor(largest))).toBeLessThanOrEqual(10_000);
  expect(partSizeFor(largest) % mebibyte).toBe(0);
});

test("keys are escaped as SigV4 wants them", () => {
  expect(encodeKey("a b/c+d/é!'()*.mov")).toBe("a%20b/c%2Bd/%C3%A9%21%27%28%29%2A.mov");
});
