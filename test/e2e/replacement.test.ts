import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { replicaText } from '../../core/ids.ts';
import type { Phase } from '../../core/phases.ts';
import { AdminClient } from '../../host/admin-client.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import type { HostProcess } from '../host/host-process.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { runCli } from './run-cli.ts';
import { configurationFile, SupervisedReplica } from './supervised-replica.ts';

describe.skipIf(missing('temporal'))('the program of a replica that runs', () => {
  let environment: MigrationEnvironment;
  let replica: SupervisedReplica;
  let programs: string;
  let source: string;
  let name: string;

  beforeEach(async () => {
    environment = await MigrationEnvironment.create({
      ...(await sharedTemporal()),
      hooks: replacementHooks,
    });
    programs = programsOf(environment.root);
    for (const version of ['v1', 'v2']) await makeProgram(version);
    await symlink('v1', join(programs, 'current'));
    source = await environment.unpack('node-killed', 'a');
    name = replicaText(environment.replica);
    const uris = defaultFamilies().expand(source);
    const program = join(programs, 'current/replica.mjs');
    [replica] = await Promise.all([
      SupervisedReplica.start(environment.root, uris, program),
      environment.start('control'),
      environment.start('agent'),
    ]);
    await replica.vote('10.0.0.1:8100:0:0');
    await replica.append('with-v1');
  });

  afterEach(async () => {
    await replica.stop();
    await environment.close();
  });

  test('is replaced, with the agent killed in every phase: it serves with the new one and forgets nothing [ROLL-1] [ROLL-4] [OPS-1] [I4] [I13]', async () => {
    await arm('stop');
    await start();
    await killAgentIn(['stop', 'replace', 'start', 'probe']);
    await soaks();
    expect(await replica.state()).toMatchObject({ version: 'v2', log: `${source}/log` });
    await replica.append('with-v2');
    await replica.vote('10.0.0.2:8100:0:0');

    await environment.kill('agent');
    await environment.client.complete(environment.replica);
    await environment.start('agent');
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });

    await servesAll('v2');
    expect(await environment.store.read()).toMatchObject({
      generation: 0,
      primary: { parkedTag: null, uris: { log: `${source}/log` } },
      migration: null,
      lastEnded: { id: 'm1', result: 'finalized', leftAside: [] },
    });
  }, 180_000);

  test('is put back from the soak, with the agent killed in every phase: what was written since stays [ROLL-1] [ROLL-6] [CUT-5] [OPS-1]', async () => {
    await start();
    await soaks();
    await replica.append('with-v2');
    await arm('rollback-stop');
    await environment.client.rollback(environment.replica, 'test');
    await killAgentIn(['rollback-stop', 'replace-back', 'start-back', 'probe-back']);
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });

    await servesAll('v1');
    expect(await environment.store.read()).toMatchObject({
      generation: 0,
      primary: { parkedTag: null, uris: { log: `${source}/log` } },
      lastEnded: { result: 'rolled-back', leftAside: [] },
    });
  }, 180_000);

  test('is put back where the new one does not come up: it serves with the one of before [ROLL-6]', async () => {
    const broken = `import { writeFileSync } from 'node:fs';
      writeFileSync('${join(programs, 'broken')}', '');
      process.exit(1);`;
    await writeFile(join(programs, 'v2/replica.mjs'), broken);
    await start();
    await eventually('an operator is asked', async () => {
      const { status } = await environment.client.status(environment.replica);
      const waiting = status?.waiting;
      return waiting?.kind === 'failed' && waiting.reason.includes('probe') ? waiting : null;
    });
    await environment.client.rollback(environment.replica, 'it does not come up');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
    await servesAll('v1');
  }, 180_000);

  test('is asked for without a source once the record knows it; preflight names what is missing [ROLL-2]', async () => {
    const asked = ['--host', environment.host, '--binary'];
    const unknown = await runCli(environment, ['start', name, ...asked, '--standalone']);
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringMatching(/--source is needed/) });

    await start();
    await soaks();
    await environment.client.complete(environment.replica);
    await environment.outcome();
    const plan = await runCli(environment, ['plan', name, ...asked, '-o', 'json']);
    expect(plan.code, plan.stderr).toBe(0);
    expect(JSON.parse(plan.stdout)).toMatchObject({
      mode: 'binary',
      bytes: 0,
      steps: ['stop', 'replace', 'start', 'probe', 'soak', 'finalize'],
    });

    const elsewhere = `local://${environment.data}/none`;
    const wrong = await runCli(environment, ['plan', name, ...asked, '--source', elsewhere]);
    expect(wrong.code).toBe(3);
    expect(wrong.stdout).toMatch(/refused replica free: its primary is/);
    expect(wrong.stdout).toMatch(/refused instance present: .*nothing is there/);
  }, 180_000);

  async function makeProgram(version: string): Promise<void> {
    const replicaProcess = new URL('replica-process.js', import.meta.url).href;
    await mkdir(join(programs, version), { recursive: true });
    await writeFile(
      join(programs, version, 'replica.mjs'),
      `process.env.REPLICA_VERSION = '${version}';\nawait import('${replicaProcess}');\n`,
    );
  }

  async function start(): Promise<void> {
    const options = ['--host', environment.host, '--binary', '--source', source, '--id', 'm1'];
    const { code, stderr } = await runCli(environment, ['start', name, ...options, '--standalone']);
    expect(code, stderr).toBe(0);
  }

  /** Lets go of the hook that is held, and holds that of `phase`. */
  async function arm(phase: Phase | 'none'): Promise<void> {
    await writeFile(join(programs, 'hold.next'), phase);
    await rename(join(programs, 'hold.next'), join(programs, 'hold'));
  }

  function heldPhase(): Promise<string> {
    return readFile(join(programs, 'held'), 'utf8').catch(() => '');
  }

  /** In the middle of each hook; what it does goes on without the agent. */
  async function killAgentIn(phases: readonly Phase[]): Promise<void> {
    for (const [i, phase] of phases.entries()) {
      await eventually(`the hook of ${phase} runs`, async () => (await heldPhase()) === phase);
      expect((await environment.store.read())?.migration?.phase).toBe(phase);
      await environment.kill('agent');
      await arm(phases[i + 1] ?? 'none');
      await environment.start('agent');
    }
  }

  async function soaks(): Promise<void> {
    await eventually('the soak', async () => {
      const { run, status, failure } = await environment.client.status(environment.replica);
      const waiting = status?.waiting;
      if (run !== 'running') throw new Error(failure ?? `it has ended: ${status?.outcome}`);
      if (waiting?.kind === 'failed') throw new Error(waiting.reason);
      return waiting?.kind === 'finalize';
    });
  }

  async function servesAll(version: string): Promise<void> {
    expect(await replica.state()).toMatchObject({ version, log: `${source}/log` });
    const { appended, voted } = replica;
    expect(await replica.remembered()).toEqual({ appended, voted });
    await replica.append(`then-with-${version}`);
  }
});

describe.skipIf(missing('temporal'))('the program of a replica with a storage host', () => {
  let environment: MigrationEnvironment;
  let host: HostProcess;

  beforeEach(async () => {
    environment = await MigrationEnvironment.create({
      ...(await sharedTemporal()),
      hooks: notingHooks,
    });
    [host] = await Promise.all([
      environment.startHost(),
      environment.start('control'),
      environment.start('agent'),
    ]);
  });

  afterEach(async () => {
    await host.end('SIGKILL');
    await environment.close();
  });

  test('is replaced while the host stays; one that is killed meanwhile serves again [ROLL-1] [OPS-1]', async () => {
    const before = await environment.store.read();
    const source = environment.uri('local', 'a');
    const input = { ...environment.input({ source, target: source }), mode: 'binary' as const };
    await environment.client.start(input);
    const { root } = environment;
    await eventually('the program is being replaced', async () =>
      (await noted(root)).endsWith('replace forward\n'),
    );
    await host.end('SIGKILL');
    host = await environment.startHost();
    const { adminSocket: socket } = environment.hostPlace;
    const shown = await AdminClient.use({ socket }, (client) =>
      client.show(replicaText(environment.replica)),
    );
    expect(shown.refusal).toBe('');

    await writeFile(join(root, 'go'), '');
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    expect(await noted(root)).toBe('stop forward\nreplace forward\nstart forward\nprobe forward\n');
    const after = await environment.store.read();
    expect(after?.primary).toEqual(before?.primary);
    expect(after?.generation).toBe(before?.generation);
  });
});

const hookNames = ['stop', 'replace', 'start', 'probe'];

function programsOf(root: string): string {
  return join(root, 'programs');
}

function replacementHooks(root: string): Record<string, unknown> {
  const script = fileURLToPath(new URL('replacement-hook.js', import.meta.url));
  return Object.fromEntries(
    hookNames.map((hook) => {
      const exec = [process.execPath, script, hook, configurationFile(root), programsOf(root)];
      return [hook, { exec, timeoutSeconds: 30 }];
    }),
  );
}

/** Each notes that it ran; the replacement waits until it is told to go on. */
function notingHooks(root: string): Record<string, unknown> {
  const note = `echo "$QUORUMSHIFT_PHASE $QUORUMSHIFT_DIRECTION" >> ${root}/noted`;
  const wait = `while [ ! -e ${root}/go ]; do sleep 0.05; done`;
  return Object.fromEntries(
    hookNames.map((hook) => {
      const script = hook === 'replace' ? `${note}; ${wait}` : note;
      return [hook, { exec: ['/bin/sh', '-c', script], timeoutSeconds: 30 }];
    }),
  );
}

function noted(root: string): Promise<string> {
  return readFile(join(root, 'noted'), 'utf8').catch(() => '');
}
