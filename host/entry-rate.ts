/** How many entries a replica has taken each second lately. */

/** Samples kept: of one a second, the rate is over ten seconds. */
const kept = 11;

interface Sample {
  readonly atMs: number;
  readonly entries: bigint;
}

export class EntryRate {
  #samples: Sample[] = [];

  /** @param entries all that were taken so far; of a store that was opened again, fewer */
  note(entries: bigint, atMs = performance.now()): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && entries < last.entries) this.#samples = [];
    this.#samples = [...this.#samples, { atMs, entries }].slice(-kept);
  }

  /** Entries per second; 0 before there are two samples. */
  get perSecond(): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (Number(last.entries - first.entries) * 1000) / (last.atMs - first.atMs);
  }
}
