/**
 * An original at a URL, read part by part: by ranges pinned to one version where the origin can, else as one stream.
 * Every answer is checked before a byte of it is used: an error page must never become an original.
 */

import { codeOf, judged } from "../../schemas/failure-policy.ts";
import type { SourcePin } from "../../schemas/transfer.ts";
import type { Config } from "../stores/config.ts";
import { fetchWithin } from "../stores/deadline.ts";
import type { PartRange } from "../stores/part-digest.ts";
import { retryAfterMs, StoreFailure } from "../stores/store-failure.ts";
import { checkSourceAddress } from "./source-address.ts";
import { StreamCutter } from "./stream-cutter.ts";

export interface UrlSource {
  /** Parts may be read in any order, at the same time and by anybody who names this version; null where they cannot. */
  pin: SourcePin | null;
  read(part: PartRange): Promise<ReadableStream<Uint8Array>>;
  /** After the last part. @throws StoreFailure SIZE_MISMATCH when there is more than was announced */
  finish(): Promise<void>;
}

interface Wanted {
  url: string;
  sizeBytes: number;
  config: Pick<Config, "publicUrl" | "environment">;
  signal: AbortSignal;
}

const headersTimeoutMs = 30_000;
const mostRedirects = 5;

/** @throws StoreFailure SOURCE_REFUSED, SOURCE_UNREADABLE, ORIGINAL_MISSING, SIZE_MISMATCH */
export async function openUrl(wanted: Wanted): Promise<UrlSource> {
  const first = await request(wanted, { range: "bytes=0-0" });
  if (first.status === 206) {
    const totalBytes = /^bytes 0-0\/(\d+)$/.exec(first.headers.get("content-range") ?? "")?.[1];
    const version = versionOf(first.headers);
    await first.body?.cancel();
    if (totalBytes === undefined) {
      const code = codeOf("urlAnswer", "another range than asked");
      throw new StoreFailure(code, "The source answered 206 without naming the range that was asked.");
    }
    checkSize(Number(totalBytes), wanted.sizeBytes);
    return version === null ? wholeSource(await request(wanted, {}), wanted) : pinnedSource(wanted, version);
  }
  return wholeSource(first, wanted);
}

/** What names the version that is read; a weak ETag does not. */
function versionOf(headers: Headers): SourcePin | null {
  const etag = headers.get("etag");
  if (etag !== null && /^".*"$/.test(etag)) return { name: "etag", value: etag };
  const modified = headers.get("last-modified");
  return modified === null ? null : { name: "last-modified", value: modified };
}

/** @throws on reading: StoreFailure SOURCE_CHANGED when the origin has another version now */
export function pinnedSource(wanted: Wanted, version: SourcePin): UrlSource {
  const condition = version.name === "etag" ? "if-match" : "if-unmodified-since";
  return {
    pin: version,
    async read({ from, sizeBytes }) {
      const to = from + sizeBytes - 1;
      const response = await request(wanted, { range: `bytes=${from}-${to}`, [condition]: version.value });
      const same = response.headers.get(version.name) === version.value;
      const exact = response.headers.get("content-range") === `bytes ${from}-${to}/${wanted.sizeBytes}`;
      if (response.status === 206 && exact && same && response.body) return response.body;
      await response.body?.cancel();
      const sign = same ? "another range than asked" : "another version than asked";
      throw new StoreFailure(codeOf("urlAnswer", sign), `The source answered with ${sign}.`);
    },
    finish: async () => undefined,
  };
}

function wholeSource(response: Response, { sizeBytes }: Wanted): UrlSource {
  if (response.status !== 200 || response.body === null) {
    const code = codeOf("urlAnswer", "another range than asked");
    throw new StoreFailure(code, `The source answered ${response.status} to a plain read.`);
  }
  const announced = response.headers.get("content-length");
  if (announced !== null) checkSize(Number(announced), sizeBytes);
  const cutter = new StreamCutter(response.body);
  return {
    pin: null,
    read: async (part) => cutter.next(part.sizeBytes),
    async finish() {
      if (!(await cutter.isOver())) throw mismatch("more than", sizeBytes);
    },
  };
}

function checkSize(foundBytes: number, sizeBytes: number): void {
  if (foundBytes !== sizeBytes) throw mismatch(`${foundBytes}, not`, sizeBytes);
}

const mismatch = (found: string, sizeBytes: number) =>
  new StoreFailure(
    codeOf("urlAnswer", "another size than announced"),
    `The source has ${found} the announced ${sizeBytes} bytes.`,
  );

/** Follows redirects itself, because each address has to be one that we may read. */
async function request(wanted: Wanted, headers: Record<string, string>): Promise<Response> {
  let address = checkSourceAddress(wanted.url, wanted.config);
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const response = await fetchOnce(address, headers, wanted.signal);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return accepted(response);
    await response.body?.cancel();
    if (!URL.canParse(location, address)) {
      const code = codeOf("urlAnswer", "a redirect to an address that is not public");
      throw new StoreFailure(code, "The source redirects to no URL.");
    }
    address = checkSourceAddress(new URL(location, address).href, wanted.config);
  }
  throw new StoreFailure(codeOf("urlAnswer", "redirects without end"), "The source redirects without end.");
}

async function fetchOnce(address: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  // What a server packs on the way has another length than its file.
  const asked = new Request(address, { headers: { "accept-encoding": "identity", ...headers }, redirect: "manual" });
  try {
    return await fetchWithin(asked, { timeoutMs: headersTimeoutMs, signal, asStored: true });
  } catch (cause) {
    signal.throwIfAborted();
    throw new StoreFailure(codeOf("silence", "source URL"), "The source did not answer.", { cause });
  }
}

async function accepted(response: Response): Promise<Response> {
  const refusal = refusalOf(response);
  if (refusal === null) return response;
  await response.body?.cancel();
  throw refusal;
}

/** No camera writes these: a sign-in page, an error of an API, a store's XML. */
const noFile = /^(text\/html|text\/xml|application\/([\w.-]+\+)?(json|xml)|application\/xhtml)/i;

function refusalOf({ status, headers }: Response): StoreFailure | null {
  if (status !== 200 && status !== 206) {
    const options = { retryAfterMs: retryAfterMs(headers, Date.now()) };
    return new StoreFailure(judged("urlStatus", status), `The source answered ${status}.`, options);
  }
  const type = headers.get("content-type") ?? "";
  if (!noFile.test(type)) return null;
  const code = codeOf("urlAnswer", "a web page, JSON or XML instead of a file");
  return new StoreFailure(code, `The source answered with ${type.split(";")[0]} instead of a file.`);
}
