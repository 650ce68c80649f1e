/** What every section of the benchmark is given. */
export interface Setting {
  /** A directory of the run's own, on the disk that is measured. */
  readonly work: string;
  /** The load generator. */
  readonly load: string;
  /** A tenth of the time, and no figures to rely on: whether everything works. */
  readonly quick: boolean;
  readonly log: (line: string) => void;
}

/** In alternating order, so that what the machine does besides hits all alike. */
export function* alternating<Item>(
  items: readonly Item[],
  rounds: number,
): Generator<{ readonly round: number; readonly order: readonly Item[] }> {
  for (let round = 0; round < rounds; round += 1) {
    yield { round, order: round % 2 === 0 ? items : items.toReversed() };
  }
}
