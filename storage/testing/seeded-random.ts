/**
 * A small deterministic generator for tests: the same seed gives the same choices on every machine.
 */

export interface SeededRandom {
  /** A whole number in `[0, bound)`; 0 when `bound` is 0. */
  below(bound: number): number;
  chance(): boolean;
}

/**
 * splitmix32: a counter by the golden ratio, mixed by two multiplications (Steele, Lea, Flood
 * 2014).
 */
export function seededRandom(seed: number): SeededRandom {
  let counter = seed | 0;
  const next = () => {
    counter = (counter + 0x9e3779b9) | 0;
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  return {
    below: (bound) => Math.floor((next() / 2 ** 32) * bound),
    chance: () => next() >= 2 ** 31,
  };
}
