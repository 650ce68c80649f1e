/** What is done for many replicas, of which the disk of one may not answer. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Patience {
  readonly atOnce: number;
  /** How long one keeps the others, and the caller, waiting. */
  readonly patienceMs: number;
}

/**
 * Does `work`, which does not reject, for each of them.
 * @returns those that have not come to their end by then: they go on
 */
export async function eachInTime<Item>(
  items: readonly Item[],
  { atOnce, patienceMs }: Patience,
  work: (item: Item) => Promise<void>,
): Promise<ReadonlyMap<Item, Promise<void>>> {
  const waiting = [...items];
  const late = new Map<Item, Promise<void>>();
  const next = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      const one = item;
      const done = work(one).then(() => void late.delete(one));
      late.set(one, done);
      await within(done, patienceMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, next));
  return late;
}

/** Whether it has come to its end in time. @throws what it throws by then */
export async function within(work: Promise<unknown>, patienceMs: number): Promise<boolean> {
  const over = new AbortController();
  const waited = delay(patienceMs, false, { signal: over.signal });
  try {
    return await Promise.race([work.then(() => true), waited]);
  } finally {
    over.abort();
    waited.catch(() => {});
  }
}
