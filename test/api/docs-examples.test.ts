import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

import { replicaText } from '../../core/ids.ts';
import { MigrationEnvironment } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { ApiProcess } from './api-process.ts';

test.skipIf(missing('temporal'))(
  'the examples of docs/api.md do what they say, from the plan to the way back',
  async () => {
    const temporal = await sharedTemporal();
    const api = await ApiProcess.start(temporal);
    const environment = await MigrationEnvironment.create(temporal);
    try {
      const source = await environment.unpack('node-killed', 'a');
      await Promise.all([environment.start('control'), environment.start('agent')]);
      const { replica, host } = environment;
      const blocks = /```sh\n([^]*?)```/.exec(await readFile('docs/api.md', 'utf8'));
      const script = (blocks?.[1] ?? '')
        .replaceAll('"n1"', `"${replica.member}"`)
        .replaceAll('kv/n1', replicaText(replica))
        .replaceAll('"m1"', `"${host}"`)
        .replaceAll('local:///data/a', source)
        .replaceAll('rocksdb:///data/b', environment.uri('rocksdb', 'b'));
      const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], {
        env: {
          ...process.env,
          QUORUMSHIFT_API: api.url,
          QUORUMSHIFT_API_TOKEN: await api.token('approve'),
        },
      });
      expect(stdout).toMatch(/"action":"migration.plan"/);
      expect(stdout).toMatch(/^event: state$/m);
      expect(stdout).toMatch(/"action":"migration.rollback"[^]*"outcome":"done"/);
      await expect(environment.outcome()).resolves.toMatchObject({
        outcome: 'rolled-back',
        reason: 'too slow',
      });
    } finally {
      await api.close();
      await environment.close();
    }
  },
);
