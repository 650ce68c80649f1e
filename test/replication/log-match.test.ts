import { expect, test } from 'vitest';

import { defaultFamilies } from '../../storage/families/registry.ts';
import type { Instance } from '../../storage/contracts.ts';
import { batchOf, type EntryBatch } from '../../storage/entry-batch.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { lastCommon, requireSameTail } from '../../storage/replication/log-match.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';

/** An instance with these entries; it counts the reads of it that have begun and not ended. */
async function withEntries(name: string, last: bigint, term = 1n) {
  const families = defaultFamilies();
  const instance = await families.open(families.expand(`memory://log-match-${name}`), 'create', {
    files: nodeFileLayer,
  });
  const entries = { after: 0n, batches: [batchOf(entriesOf(1n, last, term))] };
  await instance.apply({ entries });
  const reads = { open: 0, begun: 0 };
  const counted = async function* (batches: AsyncIterable<EntryBatch>) {
    reads.open += 1;
    reads.begun += 1;
    try {
      yield* batches;
    } finally {
      reads.open -= 1;
    }
  };
  const seen = new Proxy(instance, {
    get: (target, property): unknown => {
      if (property === 'read') {
        return (...given: Parameters<Instance['read']>) => counted(target.read(...given));
      }
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { instance: seen, reads };
}

test('what reads two logs side by side ends both reads: at the end, at a difference, above a limit', async () => {
  const a = await withEntries('a', 100n);
  const b = await withEntries('b', 100n);
  const other = await withEntries('other', 100n, 2n);
  const pair = { primary: a.instance, mirror: b.instance };
  await requireSameTail(pair, { from: 1n, maxBytes: null });
  const limited = requireSameTail(pair, { from: 1n, maxBytes: 10 });
  await expect(limited).rejects.toMatchObject({ code: 'proof.stale' });
  const different = requireSameTail(
    { primary: a.instance, mirror: other.instance },
    { from: 1n, maxBytes: null },
  );
  await expect(different).rejects.toMatchObject({ code: 'pair.diverged' });
  expect(await lastCommon(a.instance, b.instance, { from: 1n, to: 100n })).toBe(100n);
  expect(await lastCommon(a.instance, other.instance, { from: 1n, to: 100n })).toBe(0n);
  for (const { reads } of [a, b, other]) {
    expect(reads.begun).toBeGreaterThan(0);
    expect(reads.open).toBe(0);
  }
});
