/**
 * Sends renditions' parts to presigned URLs while they are encoded: few at a time over all renditions, each proven by
 * its MD5 (Content-MD5 going out, the ETag coming back), and collects the digests of the whole.
 */
import { createHash } from "node:crypto";
import type { PartDigest, Sha256Hex } from "../../schemas/checksum.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import type { Quality } from "../../schemas/ladder.ts";
import type { PartGrant } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import { type HttpAnswer, isTransient, Unanswered } from "./http-call.ts";
import { putBytes } from "./http-put.ts";
import { JobFailure } from "./job-failure.ts";
import { PartUrlCache } from "./part-url-cache.ts";
import { createSlots } from "./slots.ts";

export type PartUploadOptions = {
  grant: (quality: Quality, partSizeBytes: number, numbers: number[]) => Promise<PartGrant>;
  signal: AbortSignal;
  /** Parts in memory and on their way, over all renditions. */
  maxInFlight: number;
  /** Part URLs asked for at once. */
  urlsAhead: number;
  /** Tries of one part before the job fails. */
  attempts: number;
  backoff: Backoff;
  timeoutMs: (sizeBytes: number) => number;
  onPart?: (fact: PartFact) => void;
  random: () => number;
  /** Wall clock, for the URLs' expiry. */
  nowMs: () => number;
};

export type PartFact = { type: "stored"; sizeBytes: number } | { type: "retried"; code: FailureCode };

export type UploadedParts = { parts: PartDigest[]; composite: Sha256Hex };

export type RenditionUpload = {
  /**
   * Resolves once the part is on its way; rejects when this or an earlier part has failed for good. `release` is called
   * once, when nothing reads the bytes any more, however that came.
   */
  part(n: number, bytes: Uint8Array, release?: () => void): Promise<void>;
  /** Resolves when parts 1 to `count` are stored. */
  finish(count: number): Promise<UploadedParts>;
};

export type PartUploader = {
  /** Opened again for a quality, it starts over: later parts replace earlier ones of the same number. */
  open(quality: Quality, partSizeBytes: number): RenditionUpload;
  uploadedBytes(quality: Quality): number;
  /** Resolves when nothing is under way any more; abort the signal first to make that soon. */
  settled(): Promise<void>;
};

const md5Pattern = /^[0-9a-f]{32}$/;

export function createPartUploader(options: PartUploadOptions): PartUploader {
  const slots = createSlots(options.maxInFlight);
  const urls = new PartUrlCache(options.grant, options.urlsAhead, options.nowMs);
  /** Of each quality's newest upload; what an earlier one still has under way counts no more. */
  const stored = new Map<Quality, { bytes: number }>();
  /** The last put of each part number, so that a part sent again never races with its predecessor. */
  const underWay = new Map<string, Promise<unknown>>();

  return {
    uploadedBytes: (quality) => stored.get(quality)?.bytes ?? 0,
    settled: async () => {
      await Promise.allSettled(underWay.values());
    },
    open(quality, partSizeBytes) {
      const digests = new Map<number, PartDigest>();
      const running = new Set<Promise<void>>();
      let failure: { error: unknown } | null = null;
      const mine = { bytes: 0 };
      stored.set(quality, mine);

      async function store(n: number, bytes: Uint8Array): Promise<void> {
        const key = `${quality}/${n}`;
        await underWay.get(key)?.catch(() => undefined);
        const put = putPart({ quality, partSizeBytes, n }, bytes, urls, options);
        underWay.set(key, put);
        try {
          digests.set(n, await put);
        } finally {
          if (underWay.get(key) === put) underWay.delete(key);
        }
        mine.bytes += bytes.length;
        options.onPart?.({ type: "stored", sizeBytes: bytes.length });
      }

      return {
        async part(n, bytes, release = () => undefined) {
          let freeSlot = () => {};
          try {
            if (failure) throw failure.error;
            freeSlot = await slots.acquire(options.signal);
            if (stored.get(quality) !== mine) throw new JobFailure("RUNNER_FAILED", `${quality} has started over.`);
          } catch (error) {
            freeSlot();
            release();
            throw error;
          }
          const storing = store(n, bytes)
            .catch((error: unknown) => {
              failure ??= { error };
            })
            .finally(() => {
              release();
              freeSlot();
              running.delete(storing);
            });
          running.add(storing);
        },
        async finish(count) {
          await Promise.all(running);
          if (failure) throw failure.error;
          options.signal.throwIfAborted();
          return wholeOf(digests, count);
        },
      };
    },
  };
}

function wholeOf(digests: ReadonlyMap<number, PartDigest>, count: number): UploadedParts {
  const composite = createHash("sha256");
  const parts = Array.from({ length: count }, (_, index) => {
    const digest = digests.get(index + 1);
    if (digest === undefined) throw new JobFailure("RUNNER_FAILED", `Part ${index + 1} of ${count} was never sent.`);
    composite.update(digest.sha256, "hex");
    return digest;
  });
  return { parts, composite: composite.digest("hex") };
}

async function putPart(
  part: { quality: Quality; partSizeBytes: number; n: number },
  bytes: Uint8Array,
  urls: PartUrlCache,
  options: PartUploadOptions,
): Promise<PartDigest> {
  const md5 = createHash("md5").update(bytes).digest();
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  for (let attempt = 1; ; attempt++) {
    const url = await urls.take(part.quality, part.partSizeBytes, part.n);
    const outcome = await putBytes(url, {
      headers: { "content-md5": md5.toString("base64") },
      body: bytes,
      timeoutMs: options.timeoutMs(bytes.length),
      signal: options.signal,
    }).then(
      (answer) => readPut(answer, md5.toString("hex")),
      (error: unknown): PutOutcome => {
        if (error instanceof Unanswered) return { retry: true, code: "WASABI_UNAVAILABLE", why: error.message };
        throw error;
      },
    );
    if ("etag" in outcome) {
      return { n: part.n, sizeBytes: bytes.length, etag: outcome.etag, md5: md5.toString("hex"), sha256 };
    }
    const what = `Part ${part.n} of ${part.quality} could not be stored: ${outcome.why}`;
    if (!outcome.retry || attempt === options.attempts) throw new JobFailure(outcome.code, what, { retryable: true });
    options.onPart?.({ type: "retried", code: outcome.code });
    if (outcome.freshUrl) urls.forget(part.quality, part.n);
    await pause(backoffDelayMs(attempt, options.backoff, options.random), options.signal);
  }
}

type PutOutcome = { etag: string } | { retry: boolean; freshUrl?: true; code: FailureCode; why: string };

function readPut({ status, headers, text }: HttpAnswer, md5: string): PutOutcome {
  const code = /<Code>([^<]{1,64})<\/Code>/.exec(text)?.[1] ?? "";
  const why = `HTTP ${status} ${code}`.trim();
  if (status === 200) {
    const etag = (headers.get("etag") ?? "").replace(/^W\//, "").replaceAll('"', "");
    if (etag === "") return { retry: true, code: "WASABI_UNAVAILABLE", why: "the answer has no ETag" };
    // An opaque ETag proves nothing, but the store has checked Content-MD5 before it gave one.
    if (md5Pattern.test(etag) && etag !== md5) {
      return { retry: true, code: "CHECKSUM_MISMATCH", why: `ETag ${etag} is not the part's MD5 ${md5}` };
    }
    return { etag };
  }
  if (code === "BadDigest") return { retry: true, code: "CHECKSUM_MISMATCH", why };
  if (isTransient(status) || code === "SlowDown" || code === "RequestRateLimitExceeded" || code === "RequestTimeout") {
    return { retry: true, code: "WASABI_UNAVAILABLE", why };
  }
  // Expired, or signed by a key since replaced: a fresh URL tells which.
  if (status === 403 || status === 401) return { retry: true, freshUrl: true, code: "WASABI_UNAVAILABLE", why };
  return { retry: false, code: "RUNNER_FAILED", why };
}
