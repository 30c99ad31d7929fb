import { createHash, randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import { createJobApi } from "./job-api.ts";
import { ShuttingDown } from "./job-failure.ts";
import { createPartUploader, type PartUploadOptions } from "./part-upload.ts";
import { apiToken, jobMessage, lease, type Peer, type PeerOptions, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
afterEach(() => peer?.stop());

const partSizeBytes = 5 * 1024 * 1024;
const digest = (algorithm: string, bytes: Uint8Array) => createHash(algorithm).update(bytes).digest("hex");
const backoff = { baseMs: 1, maxMs: 4 };

async function uploaderAt(options: PeerOptions = {}, changes: Partial<PartUploadOptions> = {}) {
  peer = await startPeer(options);
  const stop = new AbortController();
  const api = createJobApi({
    apiUrl: peer.url,
    token: apiToken,
    ...jobMessage(),
    timeoutMs: 2_000,
    attempts: 3,
    backoff,
    random: () => 0.5,
  });
  const uploader = createPartUploader({
    grant: (quality, size, numbers) => api.parts({ lease, quality, partSizeBytes: size, numbers }, stop.signal),
    signal: stop.signal,
    maxInFlight: 3,
    urlsAhead: 4,
    attempts: 4,
    backoff,
    timeoutMs: () => 2_000,
    random: () => 0.5,
    nowMs: Date.now,
    ...changes,
  });
  return { uploader, stop };
}

async function send(options: PeerOptions, count = 3, changes: Partial<PartUploadOptions> = {}) {
  const { uploader } = await uploaderAt(options, changes);
  const upload = uploader.open("360p", partSizeBytes);
  const sent = Array.from({ length: count }, () => randomBytes(2_000));
  // As the rewriter does: part 1 last.
  for (let n = 2; n <= count; n++) await upload.part(n, sent[n - 1] ?? Buffer.alloc(0));
  await upload.part(1, sent[0] ?? Buffer.alloc(0));
  return { uploaded: await upload.finish(count), sent, uploader };
}

test("every part is stored as sent, with its digests and the composite in part order", async () => {
  const { uploaded, sent, uploader } = await send({}, 7);
  expect(peer.rendition("360p").equals(Buffer.concat(sent))).toBe(true);
  expect(uploaded.parts).toEqual(
    sent.map((bytes, index) => ({
      n: index + 1,
      sizeBytes: bytes.length,
      etag: digest("md5", bytes),
      md5: digest("md5", bytes),
      sha256: digest("sha256", bytes),
    })),
  );
  const raw = Buffer.concat(sent.map((bytes) => createHash("sha256").update(bytes).digest()));
  expect(uploaded.composite).toBe(digest("sha256", raw));
  expect(uploader.uploadedBytes("360p")).toBe(7 * 2_000);
});

test("URLs are asked for a few numbers ahead, none twice", async () => {
  await send({}, 9);
  const asked = peer.partRequests.flatMap((request) => request.numbers);
  expect(new Set(asked).size).toBe(asked.length);
  expect(peer.partRequests.length).toBeLessThan(9);
  expect(peer.partRequests.every((request) => request.lease === lease && request.numbers.length <= 4)).toBe(true);
});

test("a part is sent again after 503, a cut connection, a wrong ETag and a bad digest", async () => {
  const badDigest = "<Error><Code>BadDigest</Code></Error>";
  const troubles = [
    (response: ServerResponse) => response.writeHead(400).end(badDigest),
    (response: ServerResponse) => response.writeHead(503).end(),
    (response: ServerResponse) => response.destroy(),
    (response: ServerResponse) => response.writeHead(200, { etag: `"${"0".repeat(32)}"` }).end(),
  ];
  const faulty: PeerOptions = {
    onPut: (request, response, { n, puts }) => {
      const trouble = n === 2 ? troubles[puts - 1] : undefined;
      if (trouble === undefined) return false;
      request.resume();
      trouble(response);
      return true;
    },
  };
  const { uploaded, sent } = await send(faulty, 3, { attempts: 5 });
  expect(peer.puts.get("360p/2")).toBe(5);
  expect(uploaded.parts[1]?.md5).toBe(digest("md5", sent[1] ?? Buffer.alloc(0)));
});

test("an opaque ETag is kept as the store sent it", async () => {
  const etag = "X".repeat(172);
  const { uploaded } = await send({
    onPut: (request, response) => {
      request.resume().once("end", () => response.writeHead(200, { etag: `"${etag}"` }).end());
      return true;
    },
  });
  expect(uploaded.parts.map((part) => part.etag)).toEqual([etag, etag, etag]);
});

test("a refused URL is replaced by a fresh one", async () => {
  const urls: string[] = [];
  await send({
    onPut: (request, response, { n, puts }) => {
      if (n !== 2) return false;
      urls.push(request.url ?? "");
      if (puts > 1) return false;
      request.resume();
      response.writeHead(403).end("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
      return true;
    },
  });
  expect(urls).toHaveLength(2);
  expect(urls[0]).not.toBe(urls[1]);
});

test("a throttled part keeps its URL", async () => {
  const urls: string[] = [];
  await send({
    onPut: (request, response, { n, puts }) => {
      if (n !== 2) return false;
      urls.push(request.url ?? "");
      if (puts > 1) return false;
      request.resume();
      response.writeHead(403).end("<Error><Code>RequestRateLimitExceeded</Code></Error>");
      return true;
    },
  });
  expect(urls).toHaveLength(2);
  expect(urls[0]).toBe(urls[1]);
});

test("URLs near their end are not used", async () => {
  await send({ partUrlTtlMs: 1_000 }, 3);
  expect(peer.partRequests.length).toBeGreaterThanOrEqual(3);
});

test("a part that never gets through fails the upload with a code, and without its URL's query", async () => {
  const failing = send({
    onPut: (request, response, { n }) => {
      if (n !== 2) return false;
      request.resume();
      response.writeHead(503).end("<Error><Code>SlowDown</Code></Error>");
      return true;
    },
  });
  const error = await failing.catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "JobFailure", code: "WASABI_UNAVAILABLE", retryable: true });
  expect(String(error)).toContain("Part 2 of 360p");
  expect(String(error)).not.toContain("X-Amz");
  expect(peer.puts.get("360p/2")).toBe(4);
});

test("an upload that is gone is not tried again", async () => {
  const failing = send({
    onPut: (request, response) => {
      request.resume();
      response.writeHead(404).end("<Error><Code>NoSuchUpload</Code></Error>");
      return true;
    },
  });
  await expect(failing).rejects.toMatchObject({ message: expect.stringContaining("NoSuchUpload"), retryable: true });
  expect(peer.puts.get("360p/2")).toBe(1);
});

test("no more parts are on their way than allowed, over all renditions", async () => {
  let underWay = 0;
  let most = 0;
  const { uploader } = await uploaderAt({
    onPut: (request, response) => {
      most = Math.max(most, ++underWay);
      request.resume().once("end", () =>
        setTimeout(() => {
          underWay--;
          response.writeHead(200, { etag: "opaque" }).end();
        }, 5),
      );
      return true;
    },
  });
  await Promise.all(
    (["360p", "540p", "720p"] as const).map(async (quality) => {
      const upload = uploader.open(quality, partSizeBytes);
      for (let n = 1; n <= 6; n++) await upload.part(n, randomBytes(100));
      await upload.finish(6);
    }),
  );
  expect(most).toBe(3);
});

test("a part's memory is given back once, when nothing reads it any more", async () => {
  const answers: (() => void)[] = [];
  const { uploader, stop } = await uploaderAt(
    {
      onPut: (request, response, { n, puts }) => {
        if (n === 1 && puts === 1) return request.resume().once("end", () => response.writeHead(503).end()) && true;
        if (n === 1) return false;
        answers.push(() => response.writeHead(404).end("<Error><Code>NoSuchUpload</Code></Error>"));
        request.resume();
        return true;
      },
    },
    { maxInFlight: 1 },
  );
  const released: string[] = [];
  const noting = (name: string) => () => released.push(name);
  const whole = uploader.open("360p", partSizeBytes);
  await whole.part(1, randomBytes(3 * 1024 * 1024), noting("sent twice"));
  await whole.finish(1);
  expect(peer.puts.get("360p/1")).toBe(2);
  expect(released).toEqual(["sent twice"]);

  const refused = uploader.open("540p", partSizeBytes);
  await refused.part(2, randomBytes(100), noting("refused"));
  while (answers.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(released).toEqual(["sent twice"]);
  answers[0]?.();
  await expect(refused.finish(2)).rejects.toThrow("NoSuchUpload");
  await expect(refused.part(3, randomBytes(100), noting("after it"))).rejects.toThrow("NoSuchUpload");

  const stopped = uploader.open("720p", partSizeBytes);
  await stopped.part(2, randomBytes(100), noting("under way"));
  const waiting = stopped.part(3, randomBytes(100), noting("waiting"));
  stop.abort(new ShuttingDown("now"));
  await expect(waiting).rejects.toBeInstanceOf(ShuttingDown);
  await expect(stopped.finish(3)).rejects.toBeInstanceOf(ShuttingDown);
  await uploader.settled();
  expect(released.toSorted()).toEqual(["after it", "refused", "sent twice", "under way", "waiting"]);
});

test("a store that refuses a part before it has read it is asked again", async () => {
  const { uploaded } = await send({
    onPut: (_request, response, { n, puts }) => {
      if (n !== 2 || puts > 1) return false;
      response.writeHead(503, { connection: "close" }).end("<Error><Code>SlowDown</Code></Error>");
      return true;
    },
  });
  expect(uploaded.parts).toHaveLength(3);
  expect(peer.puts.get("360p/2")).toBe(2);
});

test("a rendition that starts over never races with the parts it replaces", async () => {
  const order: string[] = [];
  const { uploader } = await uploaderAt({
    onPut: (request, response, { puts }) => {
      order.push(`begin ${puts}`);
      if (puts > 1) return false;
      request.resume().once("end", () =>
        setTimeout(() => {
          order.push("end 1");
          response.writeHead(200, { etag: "opaque" }).end();
        }, 50),
      );
      return true;
    },
  });
  await uploader.open("360p", partSizeBytes).part(1, Buffer.from("earlier"));
  const second = uploader.open("360p", partSizeBytes);
  await second.part(1, Buffer.from("later"));
  const { parts } = await second.finish(1);
  expect(order).toEqual(["begin 1", "end 1", "begin 2"]);
  expect(peer.parts.get("360p/1")?.bytes.toString()).toBe("later");
  expect(parts[0]?.md5).toBe(digest("md5", Buffer.from("later")));
});

test("once a rendition starts over, nothing of the upload before is sent or counted", async () => {
  let answerFirst = () => {};
  const { uploader } = await uploaderAt(
    {
      onPut: (request, response, { puts, n }) => {
        if (n !== 1 || puts > 1) return false;
        answerFirst = () => response.writeHead(200, { etag: "opaque" }).end();
        request.resume();
        return true;
      },
    },
    { maxInFlight: 1 },
  );
  const first = uploader.open("360p", partSizeBytes);
  await first.part(1, Buffer.from("earlier"));
  const waiting = first.part(2, Buffer.from("earlier too"));
  const second = uploader.open("360p", partSizeBytes);
  while (!peer.puts.has("360p/1")) await new Promise((resolve) => setTimeout(resolve, 5));
  answerFirst();
  await expect(waiting).rejects.toThrow("started over");
  await second.part(1, Buffer.from("later"));
  await second.finish(1);
  expect(peer.puts.has("360p/2")).toBe(false);
  expect(uploader.uploadedBytes("360p")).toBe("later".length);
});

test("aborted, everything ends with the reason", async () => {
  const { uploader, stop } = await uploaderAt({ onPut: () => true });
  const upload = uploader.open("360p", partSizeBytes);
  for (let n = 1; n <= 3; n++) await upload.part(n, randomBytes(100));
  const blocked = upload.part(4, randomBytes(100));
  stop.abort(new ShuttingDown("now"));
  await expect(blocked).rejects.toBeInstanceOf(ShuttingDown);
  await expect(upload.finish(3)).rejects.toBeInstanceOf(ShuttingDown);
  await uploader.settled();
});
