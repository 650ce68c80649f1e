/**
 * Payloads for generated logs: slices of a pool made once from a seed, so that generating runs at
 * the speed of memory. The pool is far larger than LZ4's window of 64 KiB: no slice compresses
 * against an earlier copy of itself.
 */
import { seededRandom, type SeededRandom } from '../storage/testing/seeded-random.ts';

/** `text`: lines of a service's log, about 3:1 by LZ4. `random`: does not compress. */
export type PayloadKind = 'text' | 'random';

const poolBytes = 16 * 1024 * 1024;

const methods = ['GET', 'PUT', 'POST', 'DELETE'];
const resources = ['orders', 'accounts', 'sessions', 'inventory', 'shipments', 'invoices'];
const outcomes = ['ok', 'not-found', 'retried', 'timeout', 'conflict'];

/** Fills payloads one after the other; the same seed and sizes give the same bytes. */
export class PayloadSource {
  readonly #pool: Buffer;
  #at = 0;

  constructor(kind: PayloadKind, seed: number) {
    const random = seededRandom(seed);
    this.#pool = kind === 'text' ? textPool(random) : randomPool(random);
  }

  /** Writes the next `length` bytes to `target` at `offset`; at most the pool's 16 MiB. */
  fill(target: Buffer, offset: number, length: number): void {
    if (this.#at + length > poolBytes) this.#at = 0;
    this.#pool.copy(target, offset, this.#at, this.#at + length);
    this.#at += length;
  }
}

function randomPool(random: SeededRandom): Buffer {
  const words = new Uint32Array(poolBytes / 4);
  for (let i = 0; i < words.length; i++) words[i] = random.below(2 ** 32);
  return Buffer.from(words.buffer);
}

function textPool(random: SeededRandom): Buffer {
  const pool = Buffer.alloc(poolBytes);
  const clock = { ms: Date.UTC(2024, 0, 1) };
  for (let at = 0; at < poolBytes;) at += pool.write(line(random, clock), at, 'latin1');
  return pool;
}

function line(random: SeededRandom, clock: { ms: number }): string {
  clock.ms += random.below(40);
  const pick = (words: readonly string[]) => words[random.below(words.length)];
  const half = () =>
    random
      .below(2 ** 32)
      .toString(16)
      .padStart(8, '0');
  const path = `/v1/${pick(resources)}/${random.below(100_000)}`;
  return (
    `${new Date(clock.ms).toISOString()} level=info component=api host=node-${random.below(5)} ` +
    `request=${half()}${half()} method=${pick(methods)} path=${path} ` +
    `outcome=${pick(outcomes)} latency_us=${random.below(20_000)}\n`
  );
}
