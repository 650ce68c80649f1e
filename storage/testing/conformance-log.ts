/** Logs of every shape: what is appended is read back, after a reopen too. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';

import { hasCode } from '../../core/errors.ts';
import type { Instance } from '../contracts.ts';
import { batchBytes, batchOf, entryAt, lastIndexOf, type LogEntry } from '../entry-batch.ts';
import type { ConformanceCase } from './conformance-env.ts';
import { appendOf, entriesOf, rejectsWith, withSubject } from './conformance-env.ts';
import { dumpEntry } from './state-dump.ts';

const mib = 1024 * 1024;

/** One peer, as braft writes a ConfigurationPBMeta: field 1, length-delimited. */
const peer = '127.0.0.1:8300:0';
const configuration = Buffer.concat([Buffer.from([0x0a, peer.length]), Buffer.from(peer)]);

/** Entries of `payloadBytes` each, all different. */
function largeEntries(from: bigint, count: number, payloadBytes: number): LogEntry[] {
  return Array.from({ length: count }, (_, i) => {
    const index = from + BigInt(i);
    const payload = Buffer.alloc(payloadBytes, `payload of ${index} `);
    return { index, term: 3n, type: 2, payload };
  });
}

export const logCases: readonly ConformanceCase[] = [
  {
    name: 'created and never written: the log is empty at 1, and stays so after a reopen',
    clauses: ['FAM-7', 'LOG-2'],
    run: (env) => withSubject(env, async (subject) => subject.reopen()),
  },
  {
    name: 'appended one by one with reopens between: every entry is there',
    clauses: ['LOG-1'],
    run: (env) =>
      withSubject(env, async (subject) => {
        for (let after = 0n; after < 20n; after += 1n) {
          await subject.apply(appendOf(after, 1));
          if (after % 5n === 0n) await subject.reopen();
        }
      }),
  },
  {
    name: 'appends given without waiting: they are applied in the order given',
    clauses: ['LOG-1'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const given = Array.from({ length: 50 }, (_, i) => appendOf(BigInt(i) * 3n, 3));
        await Promise.all(given.map((mutation) => subject.apply(mutation)));
      }),
  },
  {
    name: 'several segments of entries: read back whole, and any part of them',
    clauses: ['LOG-1', 'FAM-5'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const list = largeEntries(1n, 9216, 1024);
        for (let i = 0; i < list.length; i += 512) {
          const part = list.slice(i, i + 512);
          await subject.apply({ entries: { after: BigInt(i), list: part } });
        }
        await subject.reopen();
        for (const [from, to] of [
          [1n, 1n],
          [5000n, 5100n],
          [9216n, 9216n],
          [4096n, 9000n],
        ] as const) {
          const got: string[] = [];
          for await (const batch of subject.instance.read(from, to)) {
            for (let i = 0; i < batch.count; i += 1) got.push(dumpEntry(entryAt(batch, i)));
          }
          deepStrictEqual(got, list.slice(Number(from) - 1, Number(to)).map(dumpEntry));
        }
      }),
  },
  {
    name: 'read with a small limit: no batch is larger, one larger entry aside',
    clauses: ['IMG-6'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const list = [...largeEntries(1n, 300, 1000), ...largeEntries(301n, 1, 70_000)];
        await subject.apply({ entries: { after: 0n, list } });
        let next = 1n;
        for await (const batch of subject.instance.read(1n, 301n, { maxBytes: 10_000 })) {
          strictEqual(batch.firstIndex, next);
          strictEqual(batch.count === 1 || batchBytes(batch) <= 10_000, true);
          next = lastIndexOf(batch) + 1n;
        }
        strictEqual(next, 302n);
      }),
  },
  {
    name: 'read outside the retained range: refused',
    clauses: ['LOG-2'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ reset: 10n, ...appendOf(9n, 5) });
        for (const [from, to] of [
          [9n, 12n],
          [10n, 15n],
          [1n, 1n],
        ] as const) {
          await rejectsWith('log.out-of-range', async () => {
            for await (const batch of subject.instance.read(from, to)) strictEqual(batch.count, 0);
          });
        }
      }),
  },
  {
    name: 'first index far above 1: the empty range has that position, and entries follow',
    clauses: ['LOG-2'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ reset: 1_000_000_007n });
        await subject.reopen();
        await subject.apply(appendOf(1_000_000_006n, 4));
      }),
  },
  {
    name: 'extreme indexes: the largest that the family can hold is stored and read back',
    clauses: ['FAM-10'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const largest = env.family.limits.maxIndex;
        await subject.apply({ reset: largest - 2n, ...appendOf(largest - 3n, 3) });
        await subject.reopen();
        await subject.apply({ truncate: { lastKept: largest - 1n } });
        await subject.refuses('limit.exceeded', appendOf(largest - 1n, 2));
      }),
  },
  {
    name: 'extreme terms: 1 and 2^63 - 1 are stored and read back',
    clauses: ['FAM-5'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const terms = [1n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 63n - 1n];
        const payload = Buffer.from('x');
        const list = terms.map((term, i) => ({ index: BigInt(i) + 1n, term, type: 2, payload }));
        await subject.apply({ entries: { after: 0n, list } });
        await subject.apply({ meta: { term: 2n ** 63n - 1n } });
      }),
  },
  {
    name: 'every entry type, with empty payloads where the family allows them: all kept as given',
    clauses: ['FAM-5'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const { noOpPayload } = env.family.limits;
        const given = [
          { type: 1, payload: Buffer.alloc(0) },
          { type: 2, payload: Buffer.alloc(0) },
          { type: 3, payload: configuration },
          { type: 0, payload: Buffer.from('of unknown type') },
          { type: 1, payload: Buffer.from(noOpPayload ? 'a no-op that says something' : '') },
          { type: 2, payload: Buffer.from([0, 255, 0, 10, 13, 0]) },
        ];
        const list = given.map((entry, i) => ({ ...entry, index: BigInt(i) + 1n, term: 2n }));
        await subject.apply({ entries: { after: 0n, list } });
      }),
  },
  {
    name: 'payloads of a MiB and more beside tiny ones: all kept, and cut between',
    clauses: ['FAM-5', 'LOG-2'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const list = [
          ...entriesOf(1n, 3n, 3n),
          ...largeEntries(4n, 1, mib),
          ...largeEntries(5n, 2, 3 * mib + 1),
          ...entriesOf(7n, 9n, 3n),
        ];
        await subject.apply({ entries: { after: 0n, list } });
        await subject.reopen();
        await subject.apply({ truncate: { lastKept: 5n } });
        await subject.reopen();
        await subject.apply({ truncate: { firstKept: 3n } });
      }),
  },
  {
    name: 'a suffix cut away and written anew, over and over: nothing cut away comes back',
    clauses: ['LOG-2', 'LOG-3'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 40));
        for (const [lastKept, count] of [
          [30n, 2],
          [31n, 4],
          [10n, 1],
          [11n, 9],
          [0n, 5],
        ] as const) {
          await subject.apply({ truncate: { lastKept } });
          await subject.reopen();
          const list = entriesOf(lastKept + 1n, lastKept + BigInt(count), 40n - lastKept);
          await subject.apply({ entries: { after: lastKept, list } });
          await subject.reopen();
        }
      }),
  },
  {
    name: 'truncated and appended in one step: new entries follow the kept ones',
    clauses: ['LOG-3'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 10));
        const list = entriesOf(5n, 12n, 2n);
        await subject.apply({ truncate: { lastKept: 4n }, entries: { after: 4n, list } });
      }),
  },
  {
    name: 'several batches in one mutation: appended one after the other',
    clauses: ['LOG-1'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const batches = [entriesOf(1n, 3n), entriesOf(4n, 4n), entriesOf(5n, 9n)].map(batchOf);
        await subject.instance.apply({ entries: { after: 0n, batches } });
        subject.model = { ...subject.model, entries: entriesOf(1n, 9n) };
      }),
  },
  {
    name: 'read beside a truncation: each read gives its entries, or says that they are gone',
    clauses: ['LOG-2', 'FAM-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        for (const truncate of [{ firstKept: 9n }, { firstKept: 15n }, { lastKept: 16n }]) {
          await subject.apply({ reset: 1n });
          for (let after = 0n; after < 20n; after += 2n) await subject.apply(appendOf(after, 2));
          const writing = { isDone: false };
          const applied = subject.apply({ truncate }).finally(() => {
            writing.isDone = true;
          });
          while (!writing.isDone) {
            await readOrGone(subject.instance);
            await setImmediate();
          }
          await applied;
          await subject.check();
        }
      }),
  },
];

/** Reads 1..20: as they were written, as far as they are given. */
async function readOrGone(instance: Instance): Promise<void> {
  const expected = entriesOf(1n, 20n).map(dumpEntry);
  const found: string[] = [];
  try {
    for await (const batch of instance.read(1n, 20n)) {
      for (let i = 0; i < batch.count; i += 1) found.push(dumpEntry(entryAt(batch, i)));
    }
  } catch (error) {
    if (!hasCode(error, 'log.out-of-range')) throw error;
  }
  deepStrictEqual(found, expected.slice(0, found.length));
}
