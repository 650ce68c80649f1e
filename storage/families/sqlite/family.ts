/** `sqlite:///directory`: one SQLite database per instance (engine-family.ts has the layout). */
import type { Family } from '../../contracts.ts';
import { engineFamily } from '../../engines/engine-family.ts';
import { snapshotPathFault } from '../../snapshot-path.ts';

export const sqliteFamily: Family = engineFamily({
  name: 'sqlite',
  formatVersion: '1',
  limits: {
    minIndex: 0n,
    // The index after the last one is an i64 too.
    maxIndex: 2n ** 63n - 2n,
    // SQLITE_MAX_LENGTH is 1e9 for a whole row: the entry's header, the key and the checksum
    // besides.
    maxPayloadBytes: 1_000_000_000 - 1024,
    noOpPayload: true,
    votedFor: () => null,
    path: snapshotPathFault,
  },
  // Loaded by whoever opens one: a command on other families begins sooner.
  openStore: async (options) => (await import('./engine.ts')).openSqliteStore(options),
});
