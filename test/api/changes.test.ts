import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { replicaWorkflowId } from '../../core/ids.ts';
import { inputDigest } from '../../schemas/input-digest.ts';
import type { AuditLine } from '../../control/audit-chain.ts';
import type { TemporalServer } from '../../worker/temporal-server.ts';
import { eventually, MigrationEnvironment } from '../e2e/migration-environment.ts';
import { startTestServer } from '../setup/test-server.ts';
import { missing } from '../setup/toolchain.ts';
import { ApiProcess } from './api-process.ts';

describe.skipIf(missing('temporal'))('changes through the API', () => {
  let temporal: TemporalServer;
  let environment: MigrationEnvironment;
  let api: ApiProcess;
  let source: string;

  beforeAll(async () => {
    // Of its own: no other file's control worker may answer while this one's is gone.
    temporal = await startTestServer();
    environment = await MigrationEnvironment.create(temporal);
    api = await ApiProcess.start(temporal);
    source = await environment.unpack('node-killed', 'a');
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(async () => {
    await api.close();
    await environment.close();
    await temporal.kill();
  });

  const place = () => `/v1/migrations/${environment.replica.cluster}/${environment.replica.member}`;

  const start = () => ({
    migrationId: 'm1',
    replica: environment.replica,
    host: environment.host,
    source,
    target: environment.uri('rocksdb', 'b'),
    policy: { approval: 'manual' },
    standalone: { note: 'the only replica' },
    reason: 'a faster disk',
  });

  const audit = async (): Promise<AuditLine[]> => {
    const lines = await api.store.audit.page({ limit: 1000 });
    return lines.filter(({ subject }) => subject.endsWith(environment.replica.member));
  };

  /** How many of the replica's workflow's history were let in. */
  const updatesNamed = async (name: string): Promise<number> => {
    const { workflow } = environment.temporal;
    const { events } = await workflow
      .getHandle(replicaWorkflowId(environment.replica))
      .fetchHistory();
    return (events ?? []).filter(
      ({ workflowExecutionUpdateAcceptedEventAttributes: accepted }) =>
        accepted?.acceptedRequest?.input?.name === name,
    ).length;
  };

  test('a dry run is a plan: every check is measured, nothing is started, nothing audited', async () => {
    const taken = await api.change('POST', '/v1/migrations?dryRun=true', { body: start() });
    expect(taken.status).toBe(202);
    const { state, result } = await api.ended(taken.body.id);
    expect(state).toBe('done');
    expect(result).toMatchObject({ mode: 'stopped', entries: expect.stringMatching(/^\d+$/) });
    expect((await api.get(place())).status).toBe(404);
    expect(await audit()).toEqual([]);
  });

  test('a start is taken once for its key, across a restart, and audited before and after [I18] [OPS-4]', async () => {
    const key = randomUUID();
    const body = start();
    const taken = await api.change('POST', '/v1/migrations', { key, body });
    expect(taken.status).toBe(202);
    expect(taken.headers.get('location')).toBe(`/v1/operations/${taken.body.id}`);
    const ended = await api.ended(taken.body.id);
    expect(ended).toMatchObject({ state: 'done', result: { migrationId: 'm1', fresh: true } });
    await api.end('SIGKILL');
    await api.run();
    const again = await api.change('POST', '/v1/migrations', { key, body });
    expect({ status: again.status, body: again.body }).toEqual({ status: 202, body: ended });

    const other = await api.problem('POST', '/v1/migrations', {
      key,
      body: { ...body, target: environment.uri('sqlite', 'b') },
    });
    expect(`${other.status} ${other.body.code}`).toBe('422 idempotency.key-reused');

    const { input } = (await environment.client.status(environment.replica)).status ?? {};
    expect(input?.requestedBy).toMatch(/^admin-\w+ \(token [0-9a-f-]{36}\)$/);
    expect(input?.standalone).toEqual({ by: input?.requestedBy, note: 'the only replica' });
    const lines = await audit();
    expect(lines.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'migration.start null',
      'migration.start done',
    ]);
    expect(lines[0]).toMatchObject({
      id: taken.body.id,
      by: input?.requestedBy,
      role: 'admin',
      reason: 'a faster disk',
      digests: [input === undefined ? '' : inputDigest(input)],
    });
    expect((await api.get('/v1/audit/verification')).body).toMatchObject({ whole: true });
  });

  test('the same migration under another key is found, another one is refused', async () => {
    const found = await api.change('POST', '/v1/migrations', { body: start() });
    expect((await api.ended(found.body.id)).result).toMatchObject({ fresh: false });
    const body = { ...start(), migrationId: 'm2' };
    const refused = await api.problem('POST', '/v1/migrations', { body });
    expect(`${refused.status} ${refused.body.code}`).toBe('409 migration.illegal-action');
    expect((await audit()).at(-1)?.outcome).toBe('failed: migration.illegal-action');
  });

  test('steering: who may not approve is refused, a stale proof is, the right one is taken', async () => {
    const waiting = await eventually('the migration to wait for approval', async () => {
      const { body } = await api.get(place());
      const status = body['status'] as { readonly waiting: { readonly kind: string } | null };
      return status?.waiting?.kind === 'approval' && body;
    });
    expect(waiting).toMatchObject({ run: 'running', status: { paused: false } });
    const told = await api.get(`${place()}/proof`);
    const proof = told.body['proof'] as { readonly digest: string; readonly generation: number };
    expect(told.body['comparisons']).toMatchObject([{ did: 'validate', outcome: 'done' }]);

    const operator = await api.token('operate');
    const path = `${place()}/approve`;
    const forbidden = await api.problem('POST', path, { token: operator, body: { proof } });
    expect(`${forbidden.status} ${forbidden.body.code}`).toBe('403 auth.role');
    const stale = await api.problem('POST', path, {
      body: { proof: { ...proof, digest: 'f'.repeat(64) } },
    });
    expect(`${stale.status} ${stale.body.code}`).toBe('409 proof.stale');
    const limited = await api.change('POST', `${place()}/throttle`, {
      token: operator,
      body: { bytesPerSecond: 1_000_000 },
    });
    const done = { state: 'done', result: { fresh: true } };
    expect(await api.ended(limited.body.id)).toMatchObject(done);
    const approved = await api.change('POST', path, { body: { proof } });
    expect(await api.ended(approved.body.id)).toMatchObject(done);
    const line = (await audit()).findLast(({ action }) => action === 'migration.approve');
    expect(line).toMatchObject({ outcome: 'done', digests: [proof.digest] });
    await eventually('the migration to wait for its finalize', async () => {
      const { status } = await environment.client.status(environment.replica);
      return status?.waiting?.kind === 'finalize';
    });
  });

  test('while no control worker answers: in progress, then to be tried again with the same key; an API killed in between counts it once', async () => {
    await environment.kill('control');
    const key = randomUUID();
    const path = `${place()}/pause`;
    const taken = await api.change('POST', path, { key });
    expect(taken.body).toMatchObject({ state: 'running', result: null });
    expect((await api.get(`/v1/operations/${taken.body.id}`)).body['state']).toBe('running');
    const same = await api.problem('POST', path, { key, body: {} });
    expect(`${same.status} ${same.body.code}`).toBe('409 idempotency.in-progress');

    // The wish has reached Temporal; the API dies before it knows.
    await api.end('SIGKILL');
    await api.run();
    expect((await audit()).findLast(({ action }) => action === 'migration.pause')).toMatchObject({
      id: taken.body.id,
      outcome: null,
    });
    const retried = await api.change('POST', path, { key });
    expect(retried.body).toMatchObject({ id: taken.body.id, state: 'running' });
    await environment.start('control');
    const ended = await eventually('the wish to be taken', async () => {
      const operation = await api.ended(taken.body.id);
      if (operation.state === 'done') return operation;
      expect(operation.problem?.code).toBe('control.unreachable');
      await api.change('POST', path, { key });
      return null;
    });
    expect(ended.state).toBe('done');
    const { status } = await environment.client.status(environment.replica);
    expect(status?.paused).toBe(true);
    expect(await updatesNamed('pause')).toBe(1);
    expect((await api.get('/v1/audit/verification')).body).toMatchObject({ whole: true });
  });

  test('it is listed, page by page, and by its filters; finalized, it says so', async () => {
    const resumed = await api.change('POST', `${place()}/resume`, { body: { reason: 'go on' } });
    expect((await api.ended(resumed.body.id)).state).toBe('done');
    const completed = await api.change('POST', `${place()}/complete`);
    expect((await api.ended(completed.body.id)).state).toBe('done');
    await expect(environment.outcome()).resolves.toMatchObject({ outcome: 'finalized' });
    await eventually('visibility to have it', async () => {
      const query = `cluster=${environment.replica.cluster}&state=completed&limit=1`;
      const members: unknown[] = [];
      let cursor = '';
      for (;;) {
        const { body } = await api.get(`/v1/migrations?${query}${cursor}`);
        const { items, next } = body as { items: { replica: unknown }[]; next: string | null };
        expect(items.length).toBeLessThanOrEqual(1);
        members.push(...items.map(({ replica }) => replica));
        if (next === null) break;
        cursor = `&cursor=${next}`;
      }
      return members.some((replica) =>
        JSON.stringify(replica).includes(environment.replica.member),
      );
    });
    const host = await api.get(`/v1/hosts/${environment.host}`);
    expect(host.body).toMatchObject({
      problem: null,
      replicas: [{ replica: environment.replica, phase: 'ended' }],
    });
    const late = await api.problem('POST', `${place()}/rollback`, { body: { reason: 'too late' } });
    expect(`${late.status} ${late.body.code}`).toBe('409 migration.illegal-action');
  });
});
