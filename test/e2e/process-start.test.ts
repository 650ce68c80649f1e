import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { program, runCli } from '../cli/run-cli.ts';
import { missing } from '../setup/toolchain.ts';
import { freePort } from '../setup/free-ports.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { startTestServer } from '../setup/test-server.ts';
import { MigratingReplica } from '../soak/migrating-replica.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

/** Far beyond a server's start and stop. */
const endsWithinMs = 45_000;

describe.skipIf(missing('temporal'))('a process that is started', () => {
  test('as an agent with an attempt whose token the server does not know, as after its database was lost, is ready [OPS-1] [OPS-6]', async () => {
    const environment = await MigrationEnvironment.create(await sharedTemporal());
    try {
      const directory = join(environment.stateDir, 'replicas', 'kv', 'n1');
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, 'attempt'), 'the token of another server');
      await environment.start('agent');
      expect(await readdir(directory)).toEqual([]);
    } finally {
      await environment.close();
    }
  });

  test('with a port for metrics tells how long steps and workflow tasks take, on that port alone [OPS-6]', async () => {
    // The workflow must be this worker's: nobody else's polls here.
    const server = await startTestServer();
    const environment = await MigrationEnvironment.create({ ...server, namespace: 'default' });
    const ports = { agent: await freePort(), control: await freePort() };
    const metricsOf = async (name: keyof typeof ports) =>
      (await fetch(`http://127.0.0.1:${ports[name]}/metrics`)).text();
    try {
      for (const name of ['agent', 'control'] as const) {
        await environment.start(name, '--metrics-port', `${ports[name]}`);
      }
      const replica = await MigratingReplica.create(environment, 'measured');
      await replica.end(await replica.begin(), 'finalized');
      for (const step of ['copy', 'validate', 'swap', 'probe', 'finalize']) {
        expect(await metricsOf('agent')).toMatch(
          new RegExp(`^temporal_activity_execution_latency_count\\{.*"${step}".*\\} 1$`, 'm'),
        );
      }
      // Told a moment after the server knows it.
      await eventually('the end of the workflow', async () =>
        /^temporal_workflow_completed_total\{.*"migrateReplica".*\} 1$/m.test(
          await metricsOf('control'),
        ),
      );
      await environment.kill('agent');
      const given = ['--config', environment.configFile, '--metrics-port', `${ports.control}`];
      const env = { TEMPORAL_ADDRESS: environment.address };
      const { code, stderr } = await runCli(['agent', ...given], { env });
      expect(stderr).toContain(`Cannot serve metrics at 127.0.0.1:${ports.control}`);
      expect(code).toBe(3);
    } finally {
      await environment.close();
      await server.kill();
    }
  });

  test('as dev and cannot have an agent ends with the reason, and its server with it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-dev-'));
    try {
      const config = join(root, 'agent.json');
      await writeFile(config, JSON.stringify({ host: 'h', stateDir: root, roots: [root] }));
      await writeFile(join(root, 'agent-id'), 'no uuid');
      const { code, stderr } = await runDev(config);
      expect(stderr).toContain('error [config.invalid]');
      expect(code).toBe(2);
      expect(await pidsNaming(root)).toEqual([]);
    } finally {
      await rm(root, { recursive: true });
    }
  });

  test('as dev on the server that a killed dev left uses it, ends in order, and leaves it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-dev-'));
    let server: number | undefined;
    try {
      const config = join(root, 'agent.json');
      await writeFile(config, JSON.stringify({ host: 'h', stateDir: root, roots: [root] }));
      const port = await freePort();
      const first = await readyDev(config, port);
      server = (await pidsNaming(root)).find((pid) => pid !== first.child.pid);
      first.child.kill('SIGKILL');
      await once(first.child, 'exit');
      const second = await readyDev(config, port);
      expect(second.said()).toContain(`using the Temporal server of process ${server}`);
      const api = /the API is ready at (\S+),/.exec(second.said())?.[1];
      const answer = await fetch(`${api}/readyz`);
      expect(await answer.json()).toEqual({ temporal: 'ok', store: 'ok' });
      expect((await fetch(`${api}/v1/hosts`)).status).toBe(401);
      second.child.kill('SIGTERM');
      expect(await once(second.child, 'exit')).toEqual([0, null]);
      expect(await pidsNaming(root)).toEqual([server]);
    } finally {
      if (server !== undefined) process.kill(server, 'SIGKILL');
      await rm(root, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});

async function readyDev(config: string, port: number) {
  const { TEMPORAL_ADDRESS: _shared, ...env } = process.env;
  const args = [
    program,
    'dev',
    '--config',
    config,
    '--port',
    `${port}`,
    '--ui-port',
    '0',
    '--api-port',
    '0',
  ];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  await new Promise<void>((ready, reject) => {
    child.once('exit', () => reject(new Error(stderr)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      if (stderr.includes('the API is ready at')) ready();
    });
  });
  return { child, said: () => stderr };
}

/** `dev` beside a server of its own; killed, with code null, when it does not end. */
async function runDev(config: string): Promise<{ code: number | null; stderr: string }> {
  const { TEMPORAL_ADDRESS: _shared, ...env } = process.env;
  const args = [
    program,
    'dev',
    '--config',
    config,
    '--port',
    '0',
    '--ui-port',
    '0',
    '--api-port',
    '0',
  ];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), endsWithinMs);
  const code = await new Promise<number | null>((done) => child.once('exit', done));
  clearTimeout(timer);
  return { code, stderr };
}

async function pidsNaming(text: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return pids.filter((_pid, i) => commands[i]?.includes(text)).map(Number);
}
