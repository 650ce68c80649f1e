import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, symlink } from 'node:fs/promises';
import { join } from 'node:path';

import { msToTs } from '@temporalio/common/lib/time.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { StepProgress } from '../../activities/contract.ts';
import { writeBraftDirectory } from '../../bench/braft-directory.ts';
import { replicaText, replicaWorkflowId } from '../../core/ids.ts';
import { MigrationClient } from '../../client/migration-client.ts';
import type { MigrationReport } from '../../client/migrations.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import { runCli } from '../cli/run-cli.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal, type SharedTemporal } from '../setup/shared-temporal.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { treeBytes } from './tree-bytes.ts';

const mebibyte = 1024 * 1024;

/** Longer than heartbeats are held back: progress that has not moved by then stands still. */
const stillMs = 2_500;

describe.skipIf(missing('temporal'))('an operator', () => {
  let environment: MigrationEnvironment;
  let temporal: SharedTemporal;

  beforeAll(async () => {
    temporal = await sharedTemporal();
    environment = await MigrationEnvironment.create(temporal);
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('sees every check that refuses, at once, and nothing has changed on disk [ROLL-2]', async () => {
    const source = await environment.unpack('basic-1', 'refused');
    await mkdir(join(environment.root, 'outside'));
    await symlink(join(environment.root, 'outside'), join(environment.data, 'link'));
    const before = await treeBytes(environment.root);

    // Inside the source, and full of its files.
    expect(await refusals(source, environment.uri('rocksdb', 'refused/log'))).toEqual(
      expect.arrayContaining(['places separate', 'target empty']),
    );
    for (const target of [
      `rocksdb://${environment.root}/b`,
      environment.uri('rocksdb', 'link/b'),
    ]) {
      expect(await refusals(source, target)).toEqual(['paths allowed']);
    }
    const refused = environment.uri('rocksdb', 'refused/log');
    await environment.client.start(environment.input({ source, target: refused, id: 'refused' }));
    const { failure, status } = await eventually('the refusal', async () => {
      const report = await environment.client.status(environment.replica);
      return report.run === 'failed' ? report : null;
    });
    expect(failure).toMatch(/every preflight check must pass: .*places separate.*target empty/s);
    expect(status?.findings.filter(({ ok }) => !ok).length).toBeGreaterThanOrEqual(2);
    expect(await treeBytes(environment.root)).toEqual(before);
  });

  test('has a plan as text and as JSON, which changes nothing', async () => {
    const source = await environment.unpack('basic-1', 'planned');
    const before = await treeBytes(environment.root);
    const plan = (target: string, output: string) =>
      cli([
        ...['plan', replicaText(environment.replica), '--host', environment.host],
        ...['--source', source, '--target', target, '-o', output],
      ]);
    const text = await plan(environment.uri('sqlite', 'p'), 'text');
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout.toString()).toMatch(/free space: \d+ bytes \(needs: .*cut over.*rollback/s);
    const json = await plan(environment.uri('sqlite', 'p'), 'json');
    expect(JSON.parse(json.stdout.toString())).toMatchObject({
      t: 'plan',
      steps: expect.arrayContaining(['swap', 'finalize']),
    });
    expect((await plan(source, 'json')).code).toBe(3);
    const refused = (await plan(source, 'text')).stdout.toString();
    expect(refused).toMatch(/refused target empty: .*\n +what to do: choose an empty place/);
    expect(refused).not.toContain('mend it first');
    const separate = await cli([
      ...['plan', replicaText(environment.replica), '--host', environment.host],
      ...['--source', source, '--target-log', `${environment.uri('local', 'p1')}/log`],
      ...['--target-meta', `${environment.uri('local', 'p2')}/meta`],
      ...['--target-snapshot', `${environment.uri('local', 'p1')}/snapshot`],
    ]);
    expect(separate).toMatchObject({ code: 0, stderr: '' });
    expect(await treeBytes(environment.root)).toEqual(before);
  });

  test('pauses a copy, changes its rate, and rolls it back: it stands still, obeys, and the source is as before [OPS-3] [CUT-5] [I12]', async () => {
    const { client, replica } = environment;
    const directory = join(environment.data, 'big');
    writeBraftDirectory({
      directory,
      bytes: 64 * mebibyte,
      entryBytes: 1024,
      kind: 'text',
      seed: 3,
    });
    const before = await treeBytes(directory);
    await client.start(
      environment.input({
        source: `local://${directory}`,
        target: environment.uri('rocksdb', 'throttled'),
        id: 'throttled',
        policy: { bytesPerSecond: 4 * mebibyte },
      }),
    );
    await progress('the copy moves', ({ phase, bytesDone }) => phase === 'copy' && bytesDone > 0);
    await expect(client.complete(replica)).rejects.toMatchObject({
      code: 'migration.illegal-action',
    });

    await client.pause(replica);
    const paused = await progress('the copy is paused', (now) => now.paused);
    expect(paused.status).toMatchObject({ paused: true, phase: 'copy' });
    expect(paused.status?.actions).toContain('resume');
    await standsStill();
    const here = ['status', replicaText(replica), '--state-dir', environment.stateDir];
    const shown = await cli([...here, '-o', 'json']);
    expect(JSON.parse(shown.stdout.toString())).toMatchObject({
      status: { paused: true, phase: 'copy' },
      progress: { paused: true, bytesTotal: expect.any(Number) },
      attempt: { step: 'copy', taken: true, heartbeatAt: expect.any(String) },
      machine: { record: { migration: { phase: 'copy' } }, problem: null },
    });
    const text = (await cli(here)).stdout.toString();
    expect(text).toMatch(/^primary +local:\/\/.*big\/log \(parked under throttled-source\)$/m);
    expect(text).toMatch(/^record +copy; token 1\.\d+\.1, revision \d+, generation \d+$/m);
    expect(text).toMatch(/^step +copy, attempt 1, last heard from \d s ago$/m);
    expect(text).toMatch(/^you may +.*rollback/m);

    await client.throttle(replica, mebibyte);
    await client.resume(replica);
    const slow = await progress(
      'the copy goes on',
      ({ paused: still, bytesPerSecond }) =>
        !still && bytesPerSecond > 0 && bytesPerSecond < 2 * mebibyte,
    );
    expect(slow.status?.bytesPerSecond).toBe(mebibyte);

    await client.rollback(replica, 'too slow');
    expect(await environment.outcome()).toEqual({ outcome: 'rolled-back', reason: 'too slow' });
    expect(await treeBytes(directory)).toEqual(before);
  });

  test('finds a migration by what it was started with, where the namespace has the attributes', async () => {
    const { host, replica, temporal: client } = environment;
    const [source, target] = [environment.uri('local', 'none'), environment.uri('sqlite', 'found')];
    await environment.client.start(environment.input({ source, target, id: 'found' }));
    const query = `QuorumshiftHost = '${host}' AND QuorumshiftMember = '${replica.member}'`;
    await eventually('visibility to follow', async () => {
      for await (const run of client.workflow.list({ query })) {
        // It ends by itself: there is no source.
        if (run.memo?.['migrationId'] === 'found') return run.status.name === 'FAILED';
      }
      return null;
    });
  });

  test('starts a migration where the namespace has none of the attributes, and is told that no control worker answers there', async () => {
    const namespace = `bare-${process.pid}`;
    await environment.temporal.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    });
    const client = await connectClient({ address: temporal.address, namespace });
    try {
      const input = environment.input({
        source: environment.uri('local', 'bare'),
        target: environment.uri('rocksdb', 'bare-b'),
        id: 'bare',
      });
      const migrations = new MigrationClient({ client, identity: 'test' });
      // The server takes a moment to know a new namespace everywhere.
      const started = await eventually('the namespace to be known', () =>
        migrations.start(input).catch((error: unknown) => {
          if (String(error).includes('Namespace')) return null;
          throw error;
        }),
      );
      expect(started).toMatchObject({ migrationId: 'bare', fresh: true });
      const [name, env] = [replicaText(environment.replica), { TEMPORAL_NAMESPACE: namespace }];
      const between = ['--source', input.source.log, '--target', input.target.log];
      for (const answer of await Promise.all([
        cli(['rollback', name], env),
        cli(['plan', name, '--host', environment.host, ...between], env),
      ])) {
        expect(answer).toMatchObject({ code: 7 });
        expect(answer.stderr).toContain('error [control.unreachable]');
      }
    } finally {
      await client.connection.close();
    }
  });

  test('is told who still holds a file of the source, ends it, resumes, and it goes on [CUT-7]', async () => {
    const { client, replica } = environment;
    const source = environment.uri('local', 'big');
    const file = await open(join(environment.data, 'big', 'log', 'log_meta'));
    const holder = spawn('sleep', ['600'], { stdio: [file.fd, 'ignore', 'ignore'] });
    await once(holder, 'spawn');
    await file.close();
    try {
      await client.start(
        environment.input({ source, target: environment.uri('sqlite', 'held-b'), id: 'held' }),
      );
      const { status } = await waiting('held');
      expect(status?.waiting?.reason).toMatch(new RegExp(`\\b${holder.pid}\\b`));
      expect(status?.actions).toContain('resume');
    } finally {
      const exited = once(holder, 'exit');
      holder.kill('SIGKILL');
      await exited;
    }
    await client.resume(replica);
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
  });

  test('is told that the machine does not answer, starts its agent, and it goes on [OPS-1]', async () => {
    const { client, replica } = environment;
    await environment.kill('agent');
    const source = environment.uri('sqlite', 'held-b');
    await client.start(
      environment.input({ source, target: environment.uri('local', 'reached'), id: 'away' }),
    );
    const { status } = await waiting('host-unreachable');
    expect(status?.waiting?.reason).toContain(environment.host);
    const shown = await cli(['status', replicaText(replica), '--state-dir', environment.stateDir]);
    expect(shown.stdout.toString()).toMatch(
      new RegExp(`record +no migration.*waiting +host-unreachable: .*${environment.host}`, 's'),
    );
    await environment.start('agent');
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    expect(await client.status(replica)).toMatchObject({ migrationId: 'away', run: 'completed' });
  });

  test('who abandons a migration is told that it is not over, and how to go on; another one is refused till then [OPS-3] [OPS-6]', async () => {
    const { client, replica } = environment;
    const source = environment.uri('local', 'reached');
    const target = environment.uri('rocksdb', 'abandoned-b');
    const policy = { approval: 'manual', finalize: 'manual' } as const;
    await client.start(environment.input({ source, target, id: 'abandoned', policy }));
    await waiting('approval');
    await expect(
      client.start(environment.input({ source, target, id: 'other', policy })),
    ).rejects.toMatchObject({ code: 'migration.illegal-action' });
    await client.abandon(replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'abandoned' });
    const resume = ['resume', replicaText(replica), '--from-record'];
    const status = ['status', replicaText(replica)];
    expect((await cli(status)).stdout.toString()).toContain(`quorumshift ${resume.join(' ')}`);
    const env = { QUORUMSHIFT_STATE_DIR: environment.stateDir };
    expect((await cli(status, env)).stdout.toString()).toMatch(
      /not over its machine still holds migration abandoned, in phase swap: quorumshift resume/,
    );
    expect(await cli(resume, env)).toMatchObject({ code: 0 });
    await waiting('approval');
    await environment.temporal.workflow.getHandle(replicaWorkflowId(replica)).terminate();
    const terminated = (await cli(status, env)).stdout.toString();
    expect(terminated).toMatch(/terminated.*not over its machine still holds/s);
    // Nothing of it can be approved, or rolled back, before it is resumed.
    expect(terminated).not.toMatch(/waiting|you may|rollback would/);
    expect(await cli(resume, env)).toMatchObject({ code: 0 });
    await waiting('approval');
    await client.rollback(replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
    expect((await cli(status, env)).stdout.toString()).not.toContain('not over');
  });

  test('is told that a namespace is not there', async () => {
    const answer = await cli(['list'], { TEMPORAL_NAMESPACE: 'not-there' });
    expect(answer).toMatchObject({ code: 7 });
    expect(answer.stderr).toContain('error [temporal.unavailable]');
    expect(answer.stderr).toContain("Namespace not found: 'not-there'");
  });

  function cli(args: readonly string[], more: NodeJS.ProcessEnv = {}) {
    const env = { TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: temporal.namespace };
    return runCli(args, { env: { ...env, ...more } });
  }

  async function refusals(source: string, target: string): Promise<string[]> {
    const { findings } = await environment.client.plan(environment.input({ source, target }));
    return findings.filter(({ ok }) => !ok).map(({ check }) => check);
  }

  function waiting(kind: string): Promise<MigrationReport> {
    return eventually(`it waits: ${kind}`, async () => {
      const report = await environment.client.status(environment.replica);
      if (report.run !== 'running') throw new Error(report.failure ?? `it is ${report.run}`);
      return report.status?.waiting?.kind === kind ? report : null;
    });
  }

  function progress(what: string, holds: (now: StepProgress) => boolean): Promise<MigrationReport> {
    return eventually(what, async () => {
      const report = await environment.client.status(environment.replica);
      if (report.run !== 'running') throw new Error(report.failure ?? `it is ${report.run}`);
      return report.progress !== null && holds(report.progress) ? report : null;
    });
  }

  /** Resolves once progress has been the same for a while. */
  async function standsStill(): Promise<void> {
    let last = -1;
    let since = Date.now();
    await eventually('progress stands still', async () => {
      const bytesDone = (await environment.client.status(environment.replica)).progress?.bytesDone;
      if (bytesDone !== last) since = Date.now();
      last = bytesDone ?? -1;
      return Date.now() - since > stillMs;
    });
  }
});
