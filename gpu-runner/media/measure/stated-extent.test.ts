import { expect, test } from "vitest";
import { statedExtentBytes } from "./stated-extent.ts";

const source = (bytes: Buffer, sizeBytes = bytes.length) => ({
  sizeBytes,
  read: async (from: number, length: number) => bytes.subarray(from, from + length),
});

/** An EBML header whose length is written in so many bytes, as old muxers write it, and a Segment of so many bytes. */
function matroska(headerSizeBytes: 1 | 8, segmentSize: Buffer): Buffer {
  const body = Buffer.from("42868101", "hex");
  const size = Buffer.alloc(headerSizeBytes);
  size.writeUIntBE(body.length, Math.max(0, headerSizeBytes - 6), Math.min(6, headerSizeBytes));
  size[0] = (size[0] ?? 0) | (0x80 >> (headerSizeBytes - 1));
  const head = [Buffer.from("1a45dfa3", "hex"), size, body, Buffer.from("18538067", "hex"), segmentSize];
  return Buffer.concat([...head, Buffer.alloc(8)]);
}

const stated = (length: number) => Buffer.from([0x01, 0, 0, 0, 0, 0, length >> 8, length & 0xff]);

test.each([1, 8] as const)("Matroska with a header length of %i bytes", async (headerSizeBytes) => {
  const file = matroska(headerSizeBytes, stated(1000));
  expect(await statedExtentBytes(source(file))).toBe(file.length - 8 + 1000);
});

test.each(["ff", "01ffffffffffffff"])("Matroska written live states no length: %s", async (hex) => {
  expect(await statedExtentBytes(source(matroska(8, Buffer.from(hex, "hex"))))).toBeNull();
});

test("AVI states its RIFF", async () => {
  const head = Buffer.from(`RIFF\xe8\x03\0\0AVI LIST`, "latin1");
  expect(await statedExtentBytes(source(head, 100))).toBe(1008);
});

test("a movie that is cut off ends within its media; one whose media is whole says nothing", async () => {
  const movie = Buffer.alloc(24);
  movie.writeUInt32BE(8, 0);
  movie.write("free", 4, "latin1");
  movie.writeUInt32BE(5000, 8);
  movie.write("mdat", 12, "latin1");
  expect(await statedExtentBytes(source(movie, 1000))).toBe(5008);
  expect(await statedExtentBytes(source(movie, 6000))).toBeNull();
});
