/**
 * Memory of one part each, used again as soon as a part is stored: left to the garbage collector, parts that are long
 * gone would add up to several times of what is needed at once.
 */
export type PartBuffers = {
  take(sizeBytes: number): Uint8Array;
  /** Nobody may look at it any more: it is filled anew, or gone. */
  giveBack(buffer: Uint8Array): void;
  /** One of the streams takes no more. */
  endStream(): void;
};

/** As many as `streams` hold at a time, and no more, come to exist; of those that are free, as many as may be wanted stay. */
export function createPartBuffers(streams: number): PartBuffers {
  const free: Uint8Array[] = [];
  let takers = streams;
  const dropSpare = () => {
    for (const { buffer } of free.splice(Math.max(0, takers))) {
      // At once: a collector may come long after the moovs have taken as much again.
      if (buffer instanceof ArrayBuffer) buffer.transfer(0);
    }
  };
  return {
    take(sizeBytes) {
      const at = free.findIndex(({ length }) => length === sizeBytes);
      return (at < 0 ? undefined : free.splice(at, 1)[0]) ?? new Uint8Array(sizeBytes);
    },
    giveBack(buffer) {
      if (free.includes(buffer)) throw new RangeError("a part's memory was given back twice");
      free.push(buffer);
      dropSpare();
    },
    endStream() {
      takers--;
      dropSpare();
    },
  };
}
