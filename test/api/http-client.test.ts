import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { HttpMigrationClient } from '../../client/http/http-migration-client.ts';
import type { MigrationReport } from '../../client/migrations.ts';
import { eventually, MigrationEnvironment } from '../e2e/migration-environment.ts';
import { runCli } from '../e2e/run-cli.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { ApiProcess } from './api-process.ts';

describe.skipIf(missing('temporal'))('the typed client of the API', () => {
  let environment: MigrationEnvironment;
  let api: ApiProcess;
  let client: HttpMigrationClient;

  beforeAll(async () => {
    const temporal = await sharedTemporal();
    environment = await MigrationEnvironment.create(temporal);
    api = await ApiProcess.start(temporal);
    client = new HttpMigrationClient({ url: api.url, token: await api.token('admin') });
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(async () => {
    await api.close();
    await environment.close();
  });

  test('plans, starts, watches, steers and lists as the one that speaks to Temporal does', async () => {
    const { replica } = environment;
    const source = await environment.unpack('node-killed', 'a');
    const target = environment.uri('rocksdb', 'b');
    const input = environment.input({
      source,
      target,
      policy: { approval: 'manual', finalize: 'manual' },
    });
    expect(await client.plan(input)).toMatchObject({ mode: 'stopped' });
    expect(await client.start(input)).toMatchObject({ fresh: true, migrationId: 'm1' });
    expect(await client.start(input)).toMatchObject({ fresh: false });

    const waits = (report: MigrationReport) => report.status?.waiting?.kind;
    const seen: (string | undefined)[] = [];
    const watched = (async () => {
      for await (const report of client.watch(replica, { intervalMs: 1 })) {
        seen.push(waits(report));
      }
    })();
    const { status } = await eventually('the wait for approval', async () => {
      const report = await client.status(replica);
      return waits(report) === 'approval' && report;
    });
    expect(status).toEqual((await environment.client.status(replica)).status);
    const proof = status?.view?.proof ?? { digest: '', generation: 0 };
    expect(await client.throttle(replica, 10_000_000, { operationId: 'limit' })).toEqual({
      fresh: true,
    });
    // The same operation, so the answer that was recorded.
    expect(await client.throttle(replica, 10_000_000, { operationId: 'limit' })).toEqual({
      fresh: true,
    });
    expect(await client.pause(replica)).toEqual({ fresh: true });
    expect(await client.resume(replica)).toEqual({ fresh: true });
    await eventually('the watcher to be told', async () => seen.includes('approval'));
    expect(await client.approve(replica, proof)).toEqual({ fresh: true });
    await eventually('the wait for finalize', async () => {
      return waits(await client.status(replica)) === 'finalize';
    });
    await expectServedProof(proof.digest);
    expect(await client.rollback(replica, 'a try')).toMatchObject({ fresh: true });
    await expect(environment.client.result(replica)).resolves.toMatchObject({
      outcome: 'rolled-back',
    });
    // The stream ends with the migration.
    await watched;
    await eventually('visibility to have it', async () => {
      const listed = await client.list({ limit: 500 });
      return listed.some((one) => one.replica.member === replica.member && one.run === 'completed');
    });
  });

  /** The proof as the machine has it, and as `verify --proof` takes it. */
  async function expectServedProof(digest: string): Promise<void> {
    const { replica } = environment;
    const path = `/v1/migrations/${replica.cluster}/${replica.member}/proofs`;
    const { body } = await api.get(path);
    expect(body).toEqual({
      host: environment.host,
      items: [
        {
          ...{ kind: 'proof', digest, bytes: expect.any(Number) },
          file: expect.stringMatching(/^m1-\d+-\d+_\d+\.json$/),
          createdAt: expect.stringMatching(/^\d{4}-/),
        },
      ],
      next: null,
    });
    const [{ file } = { file: '' }] = body['items'] as { readonly file: string }[];
    const served = await api.get(`${path}/${file}`);
    const onMachine = await readFile(join(environment.store.directory.proofs, file), 'utf8');
    expect(served.body).toEqual(JSON.parse(onMachine));
    const saved = join(environment.root, 'served.json');
    await writeFile(saved, served.text);
    const verified = await runCli(environment, ['verify', '--proof', saved, '-o', 'json']);
    expect(verified).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(verified.stdout)).toMatchObject({
      ...{ digest, source: 'as-proven', target: 'as-proven' },
    });
    for (const [name, status] of [
      ['m9-1-1_1.json', 404],
      ['..%2Fbinding.json', 400],
    ] as const) {
      expect((await api.problem('GET', `${path}/${name}`)).status).toBe(status);
    }
    expect((await api.problem('GET', '/v1/migrations/kv/nobody/proofs')).status).toBe(404);
  }

  test('what the server refuses is the same error here; so is a server that is not there', async () => {
    await expect(client.status({ cluster: 'kv', member: 'nobody' })).rejects.toMatchObject({
      code: 'migration.not-found',
      details: { replica: 'kv/nobody' },
      message: 'Cannot find migration of replica kv/nobody',
    });
    await expect(client.complete(environment.replica)).rejects.toMatchObject({
      code: 'migration.illegal-action',
    });
    const nobody = { cluster: 'kv', member: 'nobody' };
    const watch = client.watch(nobody, { intervalMs: 1 });
    await expect(watch.next()).rejects.toMatchObject({ code: 'migration.not-found' });
    const viewer = new HttpMigrationClient({ url: api.url, token: await api.token('view') });
    await expect(viewer.pause(environment.replica)).rejects.toMatchObject({ code: 'auth.role' });
    const stranger = new HttpMigrationClient({ url: api.url });
    await expect(stranger.list({ limit: 1 })).rejects.toMatchObject({ code: 'auth.refused' });
    const away = new HttpMigrationClient({ url: 'http://127.0.0.1:1' });
    await expect(away.list({ limit: 1 })).rejects.toMatchObject({ code: 'api.unreachable' });
  });

  test('commands go through it where QUORUMSHIFT_API names it, with the identity of the token', async () => {
    const { replica } = environment;
    const name = `${replica.cluster}/${replica.member}`;
    const source = environment.uri('local', 'a');
    const target = environment.uri('sqlite', 'c');
    const secret = await api.token('approve');
    const known = await api.store.tokens.verify(secret);
    const env = { QUORUMSHIFT_API: api.url, QUORUMSHIFT_API_TOKEN: secret };
    const places = ['--source', source, '--target', target, '--host', environment.host];
    const started = await runCli(
      environment,
      ['start', name, ...places, '--id', 'm2', '--approval', 'manual', '-o', 'json'],
      env,
    );
    expect(started).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(started.stdout)).toMatchObject({ migrationId: 'm2', fresh: true });
    const { status } = await eventually('the workflow to answer', async () => {
      const report = await environment.client.status(replica);
      return report.status?.input.migrationId === 'm2' && report;
    });
    expect(status?.input.requestedBy).toBe(`${known?.name} (token ${known?.id})`);
    const shown = await runCli(environment, ['status', name, '-o', 'json'], env);
    expect(JSON.parse(shown.stdout)).toMatchObject({ run: 'running', migrationId: 'm2' });
    const left = await runCli(environment, ['abandon', name, '--reason', 'enough'], env);
    expect(left).toMatchObject({ code: 0, stdout: 'accepted\n' });
    const viewer = { ...env, QUORUMSHIFT_API_TOKEN: await api.token('view') };
    const refused = await runCli(environment, ['resume', name], viewer);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('error [auth.role]');
    const wrong = await runCli(environment, ['list'], { QUORUMSHIFT_API: 'nonsense' });
    expect(wrong.code).toBe(2);
  });
});
