/** `rocksdb:///directory`: one RocksDB per instance (engine-family.ts has the layout). */
import type { Family } from '../../contracts.ts';
import { engineFamily } from '../../engines/engine-family.ts';
import { snapshotPathFault } from '../../snapshot-path.ts';

export const rocksdbFamily: Family = engineFamily({
  name: 'rocksdb',
  formatVersion: '2',
  limits: {
    minIndex: 0n,
    // The index after the last one is an i64 too.
    maxIndex: 2n ** 63n - 2n,
    // A value goes through one Buffer and one WriteBatch, whose lengths are 32-bit.
    maxPayloadBytes: 2 ** 30,
    noOpPayload: true,
    votedFor: () => null,
    path: snapshotPathFault,
  },
  // Loaded by whoever opens one: a command on other families begins sooner.
  openStore: async (options) => (await import('./engine.ts')).openRocksDbStore(options),
});
