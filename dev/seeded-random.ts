/** Chance that can be replayed: the same seed gives the same choices, on every machine and in every version. */

export type SeededRandom = {
  /** 0 ≤ n < limit */
  below(limit: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
  shuffle<T>(list: readonly T[]): T[];
};

/** Mulberry32 over the seed's parts, mixed so that neighbours (run 1, run 2) have nothing in common. */
export function seededRandom(...seed: readonly number[]): SeededRandom {
  let state = seed.reduce((mixed, part) => Math.imul(mixed ^ (part + 0x9e3779b9), 0x85ebca6b) ^ (mixed >>> 13), 1);
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(fraction() * limit);
  return {
    below,
    pick: (from) => from[below(from.length)] ?? from[0],
    shuffle(list) {
      const left = [...list];
      const shuffled: typeof left = [];
      while (left.length > 0) shuffled.push(...left.splice(below(left.length), 1));
      return shuffled;
    },
  };
}
