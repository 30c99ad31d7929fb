/** Held against FIPS 180-4's own examples and against the platform's digest, cut into pieces and taken up again anywhere. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { emptyMidstate, MidstateSha256 } from "./midstate-sha256.ts";
import { hexOf } from "./part-digest.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

function digestOf(...pieces: Uint8Array[]): string {
  const hash = new MidstateSha256();
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

test.each([
  ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  [
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  ],
])("the standard's example %j", (text, digest) => {
  expect(digestOf(bytesOf(text))).toBe(digest);
});

test("begins with the standard's initial value", () => {
  expect(emptyMidstate).toBe("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19");
});

test("any bytes, cut anywhere, put down and taken up at a block: the platform's digest", async () => {
  const cases = fc.asyncProperty(
    fc.uint8Array({ minLength: 0, maxLength: 700 }),
    fc.nat(700),
    fc.nat(10),
    async (bytes, cut, blocks) => {
      const expected = hexOf(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes)));
      expect(digestOf(bytes.subarray(0, cut), bytes.subarray(cut))).toBe(expected);

      const hashedBytes = Math.min(blocks, Math.floor(bytes.length / 64)) * 64;
      const first = new MidstateSha256();
      first.update(bytes.subarray(0, hashedBytes));
      const second = new MidstateSha256(first.midstate(), hashedBytes);
      second.update(bytes.subarray(hashedBytes));
      expect(second.digest()).toBe(expected);
    },
  );
  await fc.assert(cases, { numRuns: 300 });
});

test("within a block there is no midstate, and none is taken for what it is not", () => {
  const hash = new MidstateSha256();
  hash.update(bytesOf("abc"));
  expect(() => hash.midstate()).toThrow("whole blocks");
  expect(() => new MidstateSha256(emptyMidstate, 63)).toThrow("whole blocks");
  expect(() => new MidstateSha256("no")).toThrow("64 hex digits");
});
