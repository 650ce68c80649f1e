import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { program } from '../cli/run-cli.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { MigrationEnvironment } from './migration-environment.ts';

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

  test('as dev and cannot have an agent ends with the reason, and its server with it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-dev-'));
    try {
      const config = join(root, 'agent.json');
      await writeFile(config, JSON.stringify({ host: 'h', stateDir: root, roots: [root] }));
      await writeFile(join(root, 'agent-id'), 'no uuid');
      const { code, stderr } = await runDev(config);
      expect(stderr).toContain('error [config.invalid]');
      expect(code).toBe(2);
      expect(await commandsNaming(root)).toEqual([]);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

/** `dev` beside a server of its own; killed, with code null, when it does not end. */
async function runDev(config: string): Promise<{ code: number | null; stderr: string }> {
  const { TEMPORAL_ADDRESS: _shared, ...env } = process.env;
  const args = [program, 'dev', '--config', config, '--port', '0', '--ui-port', '0'];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), endsWithinMs);
  const code = await new Promise<number | null>((done) => child.once('exit', done));
  clearTimeout(timer);
  return { code, stderr };
}

async function commandsNaming(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return commands.filter((command) => command.includes(text));
}
