/** Reads byte ranges of a URL into their places in a local file, which is as long as the whole and empty elsewhere. */
import { type FileHandle, open } from "node:fs/promises";

export type Bytes = { from: number; to: number };

export type SparseSource = { url: string; sizeBytes: number; etag: string };

const rangesAtOnce = 4;
const rangeTimeoutMs = 15 * 60_000;

export const lengthOf = (ranges: readonly Bytes[]): number =>
  ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);

/** @throws unless every byte of every range has come, of the very file that was granted */
export async function readSparse(
  source: SparseSource,
  path: string,
  ranges: readonly Bytes[],
  { onBytes, signal }: { onBytes(count: number): void; signal: AbortSignal },
): Promise<void> {
  const file = await open(path, "wx");
  const failing = new AbortController();
  const ending = AbortSignal.any([signal, failing.signal]);
  const queue = [...ranges];
  const reader = async () => {
    for (let range = queue.shift(); range !== undefined; range = queue.shift()) {
      await readRange(source, file, range, { onBytes, signal: ending });
    }
  };
  try {
    await file.truncate(source.sizeBytes);
    const readers = Array.from({ length: rangesAtOnce }, reader);
    // One that fails ends the others before the file is closed under them.
    await Promise.all(readers).catch(async (error: unknown) => {
      failing.abort(error);
      await Promise.allSettled(readers);
      throw error;
    });
  } finally {
    await file.close();
  }
}

async function readRange(
  { url, sizeBytes, etag }: SparseSource,
  file: FileHandle,
  { from, to }: Bytes,
  { onBytes, signal }: { onBytes(count: number): void; signal: AbortSignal },
): Promise<void> {
  const response = await fetch(url, {
    headers: { range: `bytes=${from}-${to}`, "if-match": `"${etag.replaceAll('"', "")}"` },
    signal: AbortSignal.any([signal, AbortSignal.timeout(rangeTimeoutMs)]),
  });
  const told = response.headers.get("content-range");
  if (response.status !== 206 || told !== `bytes ${from}-${to}/${sizeBytes}` || response.body === null) {
    await response.body?.cancel();
    throw new Error(`Wasabi answered HTTP ${response.status} to bytes ${from}-${to} of the original`);
  }
  let at = from;
  for await (const chunk of response.body) {
    if (at + chunk.length > to + 1) throw new Error(`Wasabi sent more than bytes ${from}-${to}`);
    await writeAll(file, chunk, at);
    at += chunk.length;
    onBytes(chunk.length);
  }
  if (at !== to + 1) throw new Error(`bytes ${from}-${to} of the original ended at ${at}`);
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += (await file.write(chunk, done, chunk.length - done, position + done)).bytesWritten;
  }
}
