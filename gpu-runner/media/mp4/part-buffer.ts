/**
 * Memory of one part each, used again as soon as a part is stored: left to the garbage collector, parts that are long
 * gone would add up to several times of what is needed at once.
 */
export type PartBuffers = {
  take(sizeBytes: number): Uint8Array;
  /** Nobody may look at it any more: it is filled anew. */
  giveBack(buffer: Uint8Array): void;
};

/** As many as are held at a time, and no more, come to exist. */
export function createPartBuffers(): PartBuffers {
  const free: Uint8Array[] = [];
  return {
    take(sizeBytes) {
      const at = free.findIndex(({ length }) => length === sizeBytes);
      return (at < 0 ? undefined : free.splice(at, 1)[0]) ?? new Uint8Array(sizeBytes);
    },
    giveBack(buffer) {
      if (free.includes(buffer)) throw new RangeError("a part's memory was given back twice");
      free.push(buffer);
    },
  };
}
