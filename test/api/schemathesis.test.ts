import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { MigrationEnvironment } from '../e2e/migration-environment.ts';
import { startTestServer } from '../setup/test-server.ts';
import { missing } from '../setup/toolchain.ts';
import { ApiProcess } from './api-process.ts';

/** Of each operation, beyond those that cover every border of its schema. */
const examples = 6;
const seed = 20_260_101;

/**
 * Left out: what a schema lets through may break a rule that no schema says; the streams, which end
 * when what they tell of does.
 */
const args = [
  ...['--phases', 'coverage,fuzzing', '--max-examples', String(examples), '--seed', String(seed)],
  ...['--exclude-checks', 'positive_data_acceptance', '--exclude-path-regex', '/events$'],
  // Two of them at once meet a defect of Python's parser.
  ...['--workers', '1', '--request-timeout', '30', '--no-color', '--no-shrink'],
];

test.skipIf(missing('temporal') || missing('schemathesis'))(
  'a client that nobody here wrote finds no server error, and no answer that is not documented',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'quorumshift-schemathesis-'));
    // Schedules of its making are nobody else's.
    const temporal = await startTestServer();
    const api = await ApiProcess.start(temporal, { requestsPerMinute: 1_000_000 });
    const environment = await MigrationEnvironment.create(temporal);
    try {
      const source = await environment.unpack('node-killed', 'a');
      await Promise.all([environment.start('control'), environment.start('agent')]);
      const target = environment.uri('rocksdb', 'b');
      await environment.client.start(
        environment.input({ source, target, policy: { approval: 'manual' } }),
      );
      await writeFile(join(directory, 'schemathesis.toml'), configuration(environment));
      const report = await schemathesis(directory, [
        `${api.url}/openapi.json`,
        ...['--header', `Authorization: Bearer ${await api.token('admin')}`],
        ...args,
      ]);
      expect(report.code, report.text.slice(0, 12_000)).toBe(0);
      // It has tried nearly all there is.
      const tested = Number(/Tested: (\d+)/.exec(report.text)?.[1]);
      expect(tested).toBeGreaterThan(50);
      expect((await api.get('/v1/audit/verification')).body).toMatchObject({ whole: true });
      expect((await api.get('/readyz')).status).toBe(200);
    } finally {
      await api.close();
      await environment.close();
      await temporal.kill();
      await rm(directory, { recursive: true, force: true });
    }
  },
  600_000,
);

/** What it asks of migrations is of one that is there, and waits for its approval. */
function configuration({ replica, host }: MigrationEnvironment): string {
  return [
    '[checks.negative_data_rejection]',
    'expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "414", "415", "431"]',
    '[[operations]]',
    'include-path-regex = "^/v1/migrations/"',
    `parameters = { cluster = "${replica.cluster}", member = "${replica.member}" }`,
    '[[operations]]',
    'include-path-regex = "^/v1/hosts/"',
    `parameters = { host = "${host}" }`,
    '',
  ].join('\n');
}

async function schemathesis(cwd: string, given: readonly string[]) {
  const program = process.env['QUORUMSHIFT_SCHEMATHESIS'] ?? '';
  const child = spawn(program, ['run', ...given], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const hear = (chunk: string) => (text += chunk);
  child.stdout.setEncoding('utf8').on('data', hear);
  child.stderr.setEncoding('utf8').on('data', hear);
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, text };
}
