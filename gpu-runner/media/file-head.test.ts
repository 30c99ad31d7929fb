import { expect, test } from "vitest";
import { recogniseHead } from "./file-head.ts";

const head = (latin1: string) => Uint8Array.from(Buffer.from(latin1, "latin1"));

test.each<[string, string, string]>([
  ["nothing at all", "", "INVALID_MEDIA"],
  ["zeros", "\0".repeat(512), "INVALID_MEDIA"],
  ["a HEIC", "\0\0\0\x18ftypheic\0\0\0\0", "STILL_IMAGE"],
  ["a TIFF or DNG", "II*\0\x08\0\0\0", "STILL_IMAGE"],
  ["a Photoshop file", "8BPS\0\x01", "STILL_IMAGE"],
  ["Canon raw", "\0\0\0\x18ftypcrx \0\0\0\x01", "UNSUPPORTED_CODEC"],
  ["RED raw", "\0\0\x01\0RED2\0", "UNSUPPORTED_CODEC"],
  ["a ZIP", "PK\x03\x04\x14\0", "INVALID_MEDIA"],
  ["a tape archive", `${"film.mov".padEnd(257, "\0")}ustar`, "INVALID_MEDIA"],
  ["an old Office document", "\xd0\xcf\x11\xe0\xa1", "INVALID_MEDIA"],
  ["text whose last character is cut in two", "Notizen f\xc3\xbcr K\xc3", "INVALID_MEDIA"],
])("%s", (_, bytes, code) => {
  expect(recogniseHead(head(bytes))).toMatchObject({
    code,
    message: expect.stringMatching(/^The [^{}]+\.$/),
  });
});

test.each([
  ["a movie", "\0\0\0\x14ftypqt  \0\0\0\0"],
  ["Matroska", "\x1a\x45\xdf\xa3\x01\0"],
  ["Latin-1 that is no UTF-8", "caf\xe9 noir"],
])("%s is nothing that it knows", (_, bytes) => {
  expect(recogniseHead(head(bytes))).toBeNull();
});
