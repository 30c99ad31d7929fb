/** Small reads of the original by byte range, through the loopback proxy. Its failures are the proxy's to report. */

export type SourceBytes = {
  sizeBytes: number;
  /** @returns fewer bytes than asked for where the file ends before */
  read: (from: number, length: number) => Promise<Uint8Array>;
};

/** @returns null where the source cannot be read, or is empty */
export async function openSourceBytes(url: string, signal: AbortSignal): Promise<SourceBytes | null> {
  const ask = async (from: number, length: number) => {
    const response = await fetch(url, { headers: { range: `bytes=${from}-${from + length - 1}` }, signal });
    if (response.status !== 206) {
      await response.body?.cancel();
      return null;
    }
    return { total: response.headers.get("content-range"), bytes: await response.bytes() };
  };
  const first = await ask(0, 1).catch(() => null);
  const sizeBytes = Number(/\/(\d+)$/.exec(first?.total ?? "")?.[1] ?? Number.NaN);
  if (!Number.isSafeInteger(sizeBytes)) return null;
  return {
    sizeBytes,
    read: async (from, length) => {
      const within = Math.min(length, sizeBytes - from);
      return within <= 0 ? new Uint8Array() : ((await ask(from, within))?.bytes ?? new Uint8Array());
    },
  };
}
