import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { replicaText } from '../../core/ids.ts';
import { program } from '../cli/run-cli.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

describe('what an agent logs', () => {
  let environment: MigrationEnvironment;
  let agent: ChildProcess | null = null;

  beforeEach(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await environment.start('control');
  });

  afterEach(async () => {
    const exited = new Promise((done) => agent?.once('exit', done));
    agent?.kill('SIGKILL');
    await exited;
    await environment.close();
  });

  const startAgent = (stderr: number | 'pipe', ...more: readonly string[]) => {
    const { address, configFile } = environment;
    agent = spawn(process.execPath, [program, 'agent', '--config', configFile, ...more], {
      stdio: ['ignore', 'ignore', stderr],
      env: { ...process.env, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: 'default' },
    });
    return agent;
  };

  const migrate = async () => {
    const { client } = environment;
    const source = await environment.unpack('node-killed', 'a');
    const target = environment.uri('sqlite', 'b');
    const policy = { finalize: 'manual', soakSeconds: 0 } as const;
    await client.start(environment.input({ source, target, policy }));
    await eventually('it soaks', async () => {
      const { status } = await client.status(environment.replica);
      return status?.waiting?.kind === 'finalize';
    });
    await client.rollback(environment.replica, 'a test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
  };

  test('with "--log-format json" each step and decision is a line that programs can read', async () => {
    const file = join(environment.root, 'agent.log');
    const log = await open(file, 'w');
    startAgent(log.fd, '--log-format', 'json');
    await log.close();
    const lines = async () =>
      (await readFile(file, 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line): Record<string, unknown> => JSON.parse(line));
    await eventually('it is ready', async () =>
      (await lines()).some(({ message }) => String(message).endsWith('is ready')),
    );
    await migrate();
    const said = await lines();
    for (const line of said) {
      expect(line).toMatchObject({ process: 'agent', message: expect.any(String) });
      expect(['info', 'warn']).toContain(line['level']);
      expect(Date.parse(String(line['time']))).toBeGreaterThan(0);
    }
    const name = replicaText(environment.replica);
    const of = { replica: name, migration: 'm1', attempt: 1 };
    const told = (what: string) => said.filter((line) => line['what'] === what);
    expect(told('preflight')).toMatchObject([{ message: `${name} m1: preflight: passed` }]);
    expect(told('own')).toMatchObject([{ ...of, phase: 'stop' }]);
    expect(told('copy')).toMatchObject([
      { ...of, message: `${name} m1: copy begins` },
      { ...of, outcome: 'done', next: 'publish', ms: expect.any(Number) },
    ]);
    expect(told('swap')).toMatchObject([{ ...of, outcome: 'done', next: 'repoint' }]);
    expect(told('rollback')).toMatchObject([{ ...of, by: 'test', reason: 'a test' }]);
    expect(told('probe-back')).toMatchObject([{ ...of, next: 'ended' }]);
  });

  test('an agent whose log nobody reads any more goes on', async () => {
    const { stderr } = startAgent('pipe');
    await new Promise<void>((ready) => {
      stderr?.setEncoding('utf8').on('data', (text: string) => {
        if (text.includes('is ready')) ready();
      });
    });
    stderr?.destroy();
    await migrate();
  });
});
