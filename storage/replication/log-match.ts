/** How far two logs hold the same entries, looked for from their ends. */
import { fail } from '../../core/errors.ts';
import type { Instance } from '../contracts.ts';
import { sameMeta } from '../meta-rules.ts';
import {
  canonicalBytes,
  entryAt,
  sliceBatch,
  type EntryBatch,
  type LogEntry,
} from '../entry-batch.ts';

/** Entries looked at first; twice as many each time that none of them is common. */
const firstStride = 64;

/**
 * The highest index in `from..to` at which both hold the same entry; `from - 1` when there is none.
 * By log matching everything before it is the same too.
 * @throws `log.identity-reused` where index and term are the same and the payload is not (LOG-5)
 */
export async function lastCommon(
  a: Instance,
  b: Instance,
  { from, to }: { readonly from: bigint; readonly to: bigint },
): Promise<bigint> {
  let stride = BigInt(firstStride);
  for (let end = to; end >= from;) {
    const start = end - stride + 1n > from ? end - stride + 1n : from;
    const found = await highestSame({ a, b, start, end });
    if (found !== null) return found;
    [end, stride] = [start - 1n, stride * 2n];
  }
  return from - 1n;
}

/**
 * Requires both to hold the same from `from` on, and the same metadata.
 * @throws `pair.diverged`; `proof.stale` when that is more than `maxBytes`, null being any number
 */
export async function requireSameTail(
  { primary, mirror }: { readonly primary: Instance; readonly mirror: Instance },
  { from, maxBytes }: { readonly from: bigint; readonly maxBytes: number | null },
): Promise<void> {
  const [p, m] = [primary.state(), mirror.state()];
  const fails = (actual: string) =>
    fail('pair.diverged', { primary: primary.uris.log, mirror: mirror.uris.log, actual });
  if (p.firstIndex !== m.firstIndex || p.lastIndex !== m.lastIndex) {
    const ranges = `${p.firstIndex}..${p.lastIndex} and ${m.firstIndex}..${m.lastIndex}`;
    throw fails(`they hold ${ranges}`);
  }
  if (!sameMeta(p.meta, m.meta)) throw fails('their metadata differs');
  const start = from > p.firstIndex ? from : p.firstIndex;
  let bytes = 0;
  const range = { start, end: p.lastIndex };
  for await (const [mine, other] of sideBySide({ a: primary, b: mirror, ...range })) {
    bytes += mine.bytes.length;
    if (maxBytes !== null && bytes > maxBytes) {
      const given = `entries ${start}..${p.lastIndex} have changed since`;
      throw fail('proof.stale', { present: `at most ${maxBytes} bytes`, given });
    }
    if (other === undefined || !mine.bytes.equals(other.bytes)) {
      throw fails(`entry ${mine.index} differs`);
    }
  }
}

/** Entries `start..end` of two instances that both hold them. */
interface Span {
  readonly a: Instance;
  readonly b: Instance;
  readonly start: bigint;
  readonly end: bigint;
}

async function highestSame(span: Span): Promise<bigint | null> {
  const { b } = span;
  let found: bigint | null = null;
  for await (const [mine, other] of sideBySide(span)) {
    if (other === undefined || other.term !== mine.term) continue;
    if (!mine.bytes.equals(other.bytes)) {
      const { index, term } = mine;
      throw fail('log.identity-reused', { instance: b.uris.log, index, term });
    }
    found = mine.index;
  }
  return found;
}

/** An entry with its canonical bytes. */
type ReadEntry = LogEntry & { readonly bytes: Buffer };

/** Reads both at once, and ends both reads: one left open holds back what its engine could free. */
async function* sideBySide({
  a,
  b,
  start,
  end,
}: Span): AsyncGenerator<[ReadEntry, ReadEntry | undefined]> {
  const mine = entriesIn(a.read(start, end));
  const theirs = entriesIn(b.read(start, end));
  try {
    for (;;) {
      const [one, other] = await Promise.all([mine.next(), theirs.next()]);
      if (one.done) return;
      yield [one.value, other.value];
    }
  } finally {
    await Promise.all([mine.return(undefined), theirs.return(undefined)]);
  }
}

async function* entriesIn(
  batches: AsyncIterable<EntryBatch>,
): AsyncGenerator<ReadEntry, undefined> {
  for await (const batch of batches) {
    for (let i = 0; i < batch.count; i += 1) {
      yield { ...entryAt(batch, i), bytes: canonicalBytes(sliceBatch(batch, i, i + 1)) };
    }
  }
  return undefined;
}
