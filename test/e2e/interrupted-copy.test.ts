import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { writeBraftDirectory } from '../../bench/braft-directory.ts';
import { entryHeaderBytes } from '../../storage/entry-batch.ts';
import { ownPaths } from '../../storage/binding/parking.ts';
import { parkedName } from '../../storage/binding/path-fence.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { readStagingMarker } from '../../storage/staging-marker.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

const entryBytes = 1024;

/** Ten seconds of copying: one checkpoint after five of them, and time to be killed after it. */
const bytesPerSecond = 2 * 1024 * 1024;
const logBytes = 10 * bytesPerSecond;

describe.skipIf(missing('temporal'))('an agent killed in the middle of a copy', () => {
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('and started again goes on from its last checkpoint [OPS-1] [BOOT-4]', async () => {
    const { client, replica } = environment;
    const directory = join(environment.data, 'a');
    writeBraftDirectory({ directory, bytes: logBytes, entryBytes, kind: 'text', seed: 1 });
    const source = `local://${directory}`;
    const before = await environment.digest(source);
    const target = environment.uri('local', 'b');
    await client.start(environment.input({ source, target, policy: { bytesPerSecond } }));
    const checkpoint = await eventually('a checkpoint of the copy', () => copied(environment));
    await environment.kill('agent');
    // Temporal shows a dead attempt's last words until the next one speaks.
    const { progress: last } = await client.status(replica);
    await environment.start('agent');
    const progress = await eventually('progress of the next attempt', async () => {
      const { progress: seen, attempt } = await client.status(replica);
      const spoken = seen !== null && seen.bytesDone > 0 && seen.bytesDone !== last?.bytesDone;
      return attempt !== null && attempt.number > 1 && spoken ? seen : null;
    });
    // What it stands at, less what this attempt has moved itself, was there before it.
    const movedNow = Math.ceil(progress.bytesDone / (entryBytes + entryHeaderBytes));
    expect(progress.phase).toBe('copy');
    expect(progress.entriesDone - movedNow).toBeGreaterThanOrEqual(checkpoint - 1);
    await client.throttle(replica, null);
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    expect((await environment.digest(target)).root).toBe(before.root);
  });
});

/** Entries that the staging place has kept durably; null as long as there are none. */
async function copied(environment: MigrationEnvironment): Promise<number | null> {
  const migration = (await environment.store.read())?.migration;
  if (migration?.phase !== 'copy') return null;
  const [log = ''] = ownPaths(defaultFamilies(), migration.target.uris);
  const marker = await readStagingMarker(nodeFileLayer, parkedName(log, migration.targetTag));
  const progress = marker?.progress;
  if (!progress) return null;
  const entries = Number(progress.lastIndex - progress.firstIndex + 1n);
  return entries > 0 ? entries : null;
}
