import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CompositeHash } from "./composite-hash.ts";
import { bytesOf, compositeOf } from "./testing/agent-client.ts";

test("however the bytes are cut into chunks, the composite is that of the parts", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 500 }),
      fc.integer({ min: 1, max: 600 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 20 }),
      (input, partSizeBytes, cuts) => {
        const bytes = Buffer.from(input);
        const hash = new CompositeHash(partSizeBytes);
        let offset = 0;
        for (const cut of [...cuts, bytes.length]) {
          hash.update(bytes.subarray(offset, offset + cut));
          offset = Math.min(offset + cut, bytes.length);
        }
        expect(hash.position).toBe(bytes.length);
        expect({ partSizeBytes, ...hash.digest() }).toEqual(compositeOf(bytes, partSizeBytes));
      },
    ),
  );
});

test("one part's composite is the digest of its digest, not its digest", () => {
  const bytes = bytesOf(100);
  const hash = new CompositeHash(1_000);
  hash.update(bytes);
  const inner = createHash("sha256").update(bytes).digest();
  expect(hash.digest()).toEqual({ parts: 1, composite: createHash("sha256").update(inner).digest("hex") });
});
