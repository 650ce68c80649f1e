import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { TemporalServer } from '../../worker/temporal-server.ts';
import { startTestServer } from '../setup/test-server.ts';
import { missing } from '../setup/toolchain.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

/** A run is long after this many events: as if it had waited for weeks. */
const settings = { 'limit.historyCount.suggestContinueAsNew': 60 };

describe.skipIf(missing('temporal'))('a run that hands on to the next', () => {
  let server: TemporalServer;
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    server = await startTestServer(settings);
    environment = await MigrationEnvironment.create({ ...server, namespace: 'default' });
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(async () => {
    await environment.close();
    await server.kill();
  });

  test('tells it what was wished while its last words were on their way [OPS-1] [OPS-3]', async () => {
    const { client, replica } = environment;
    const source = await environment.unpack('node-killed', 'a');
    const target = environment.uri('sqlite', 'b');
    await client.start(environment.input({ source, target, policy: { approval: 'manual' } }));
    const seen = async () => (await client.status(replica)).status;
    await eventually('it waits for approval', async () => {
      return (await seen())?.waiting?.kind === 'approval';
    });
    // Nobody takes what the run tells its machine: it ends only when that has been given up.
    await environment.kill('agent');
    await client.pause(replica);
    await eventually('its history is long, and it is about to end', async () => {
      await client.throttle(replica, 1_000_000);
      const status = await seen();
      return status?.stage === 'ended' && status.outcome === null;
    });
    await client.rollback(replica, 'a test');
    expect((await seen())?.stage).toBe('ended');
    await environment.start('agent');
    await client.resume(replica);
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
  });
});
