import fc from "fast-check";
import { expect, test } from "vitest";
import {
  bareEtag,
  compositeOf,
  digested,
  hexOf,
  moveDigested,
  multipartEtag,
  partRanges,
  provePartList,
  verified,
} from "./part-digest.ts";
import { StoreFailure } from "./store-failure.ts";

const utf8 = new TextEncoder();
const sha = async (text: string) => hexOf(await crypto.subtle.digest("SHA-256", utf8.encode(text)));
const md5 = async (text: string) => hexOf(await crypto.subtle.digest("MD5", utf8.encode(text)));
const streamOf = (...chunks: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(utf8.encode(chunk));
      controller.close();
    },
  });
const options = { stallMs: 5_000, blame: "SOURCE_UNREADABLE" } as const;

test("composite and ETag are digests over the raw part digests", async () => {
  // printf a | md5sum, and so on, joined as bytes and hashed with coreutils.
  expect(await compositeOf([await sha("a"), await sha("b")])).toBe(
    "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a",
  );
  expect(await multipartEtag([await md5("a"), await md5("b")])).toBe("96e024ba2074fe77e8e965ba43a704be-2");
  expect(await compositeOf([await sha("a")])).not.toBe(await sha("a"));
});

test("ETags lose quotes and the weak mark", () => {
  expect([bareEtag('"abc-2"'), bareEtag('W/"abc"'), bareEtag("abc")]).toEqual(["abc-2", "abc", "abc"]);
});

test("part ranges cover an object exactly once, equal but for the last", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e9 }), fc.integer({ min: 1e8, max: 1e9 }), (sizeBytes, partSizeBytes) => {
      const ranges = partRanges(sizeBytes, partSizeBytes);
      let from = 0;
      for (const [index, range] of ranges.entries()) {
        expect(range).toMatchObject({ n: index + 1, from });
        if (index < ranges.length - 1) expect(range.sizeBytes).toBe(partSizeBytes);
        from += range.sizeBytes;
      }
      expect(from).toBe(sizeBytes);
    }),
  );
});

test("a part list is proven by sizes, order and composite", async () => {
  const digests = [await sha("aaaa"), await sha("b")];
  const parts = [
    { n: 1, sizeBytes: 4, etag: "x", md5: await md5("aaaa"), sha256: digests[0] ?? "" },
    { n: 2, sizeBytes: 1, etag: "y", md5: await md5("b"), sha256: digests[1] ?? "" },
  ];
  const sha256 = { partSizeBytes: 4, parts: 2, composite: await compositeOf(digests) };
  await provePartList(parts, 5, sha256);
  for (const wrong of [parts.toReversed(), parts.slice(0, 1), [{ ...parts[0], sha256: digests[1] }, parts[1]]]) {
    await expect(provePartList(wrong as typeof parts, 5, sha256)).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  }
  await expect(provePartList(parts, 6, sha256)).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
});

test("a stream is hashed in passing and arrives whole", async () => {
  const stream = digested(streamOf("hel", "lo"), 5, options);
  const { sent, hashes } = await moveDigested(stream, (received) => new Response(received).text());
  expect(sent).toBe("hello");
  expect(hashes).toEqual({ md5: await md5("hello"), sha256: await sha("hello") });
});

test.each([
  ["short", 6, "ended early"],
  ["long", 4, "more than it announced"],
])("a %s source fails as the source's fault", async (_name, sizeBytes, message) => {
  const stream = digested(streamOf("hel", "lo"), sizeBytes, options);
  const moving = moveDigested(stream, (received) => new Response(received).text());
  await expect(moving).rejects.toThrow(message);
  await expect(moving).rejects.toMatchObject({ code: "SOURCE_UNREADABLE" });
});

test("a source that falls silent is given up", async () => {
  const silent = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) });
  const stream = digested(silent, 5, { ...options, stallMs: 20 });
  await expect(moveDigested(stream, (received) => new Response(received).text())).rejects.toThrow("fell silent");
});

test("a destination that fails is told as such, and ends the reading", async () => {
  const refused = new StoreFailure("R2_UNAVAILABLE", "R2 is away");
  const { promise: cancelled, resolve } = Promise.withResolvers<void>();
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1024)),
    cancel: () => resolve(),
  });
  const stream = digested(endless, 1024 ** 3, options);
  await expect(moveDigested(stream, () => Promise.reject(refused))).rejects.toBe(refused);
  await cancelled;
});

/** Three digest parts of a text, cut into chunks that end nowhere near them. */
async function expectedOf(text: string, partSizeBytes: number) {
  const ranges = partRanges(text.length, partSizeBytes);
  return Promise.all(
    ranges.map(async ({ n, from, sizeBytes }) => ({
      n,
      sizeBytes,
      sha256: await sha(text.slice(from, from + sizeBytes)),
    })),
  );
}

/** What a destination that wants every byte has got when the body ends or fails. */
async function readAll(body: ReadableStream<Uint8Array>) {
  let got = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) got += decoder.decode(chunk, { stream: true });
  return got;
}

test("a stream of several digest parts arrives whole, however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: "binary-ascii", maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 25 }),
      async (text, partSizeBytes, chunkBytes) => {
        const chunks = text.match(new RegExp(`[^]{1,${chunkBytes}}`, "g")) ?? [];
        const stream = verified(streamOf(...chunks), await expectedOf(text, partSizeBytes), options);
        expect((await moveDigested(stream, readAll)).sent).toBe(text);
      },
    ),
    { numRuns: 50 },
  );
});

test.each([0, 5, 9, 10, 19, 20, 23])("a wrong byte at %d never lets its part through whole", async (wrongAt) => {
  const text = "abcdefghijklmnopqrstuvwx";
  const wrong = `${text.slice(0, wrongAt)}!${text.slice(wrongAt + 1)}`;
  const stream = verified(streamOf(...(wrong.match(/.{1,7}/g) ?? [])), await expectedOf(text, 10), options);
  let got = "";
  const moving = moveDigested(stream, async (body) => {
    for await (const chunk of body) got += new TextDecoder().decode(chunk);
  });
  await expect(moving).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  expect(got.length).toBeLessThan(Math.min(text.length, (Math.floor(wrongAt / 10) + 1) * 10));
});

test.each([
  ["short", "ended early", "abc"],
  ["long", "more than it announced", "abcde"],
])("a %s source of digest parts never ends its body", async (_name, message, text) => {
  let ended = false;
  const stream = verified(streamOf(text), await expectedOf("abcd", 2), options);
  const moving = moveDigested(stream, async (body) => {
    await readAll(body);
    ended = true;
  });
  await expect(moving).rejects.toThrow(message);
  expect(ended).toBe(false);
});

test("a signal ends the move with its reason, though the source is silent", async () => {
  const stopped = new AbortController();
  const silent = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) });
  const signal = stopped.signal;
  const stream = verified(silent, await expectedOf("abcd", 2), { ...options, signal });
  const moving = moveDigested(stream, readAll);
  const reason = new Error("no longer wanted");
  setTimeout(() => stopped.abort(reason), 10);
  await expect(moving).rejects.toBe(reason);
});
