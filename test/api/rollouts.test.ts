import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { startTestServer } from '../setup/test-server.ts';
import type { TemporalServer } from '../../worker/temporal-server.ts';
import { ApiProcess } from './api-process.ts';

/** Names of this run's own, on machines whose agents never come. */
const unique = `${process.pid}`;
const fleet = `f${unique}`;
const clusters = ['a', 'b', 'c', 'd'].map((name) => `c${unique}${name}`);
const policy = { target: 'rocksdb:///data/new/{cluster}/{member}', soakSeconds: 0 };

describe.skipIf(missing('temporal'))('rollouts through the API', () => {
  let api: ApiProcess;
  let server: TemporalServer;

  beforeAll(async () => {
    // Its store must be this API's: nobody else's store worker polls here.
    server = await startTestServer();
    api = await ApiProcess.start(server);
    await api.startControl();
  });

  afterAll(async () => {
    await api.close();
    await server.kill();
  });

  const inventory = (names: readonly string[]) => ({
    version: 1,
    clusters: Object.fromEntries(
      names.map((name) => [name, { labels: { env: 'test' }, members: membersOf(name) }]),
    ),
  });

  test('an inventory is tried, given, shown, and held against the one before', async () => {
    expect((await api.problem('GET', '/v1/inventory')).status).toBe(404);
    const early = await api.problem('POST', '/v1/clusters', {
      body: { cluster: clusters[0], policy },
    });
    expect(`${early.status} ${early.body.code}`).toBe('400 rollout.invalid');

    const path = '/v1/inventory';
    const tried = await api.change('PUT', `${path}?dryRun=true`, { body: inventory(clusters) });
    expect(tried.body.result).toEqual({
      revision: null,
      difference: { added: clusters, removed: [], changed: [] },
    });
    expect((await api.get(path)).status).toBe(404);
    await api.change('PUT', path, { body: inventory(clusters.slice(0, 2)) });
    const given = await api.change('PUT', path, { body: inventory(clusters) });
    expect(given.body.result).toMatchObject({
      revision: { revision: 2 },
      difference: { added: clusters.slice(2) },
    });
    expect((await api.get(path)).body).toMatchObject({
      revision: 2,
      inventory: { clusters: clusters.map((cluster) => ({ cluster })) },
    });
    const first = await api.get(`${path}/revisions?limit=1`);
    expect(first.body['items']).toMatchObject([{ revision: 2 }]);
    const second = await api.get(`${path}/revisions?limit=1&cursor=${String(first.body['next'])}`);
    expect(second.body).toMatchObject({ items: [{ revision: 1 }], next: null });
    expect((await api.get(`${path}/revisions/1/difference`)).body).toMatchObject({
      added: clusters.slice(2),
      removed: [],
    });
    expect((await api.get('/v1/hosts')).body['items']).toHaveLength(3);
    const host = await api.get(`/v1/hosts/h${unique}-1`);
    expect(host.body).toMatchObject({ agent: null, replicas: null });
    expect(host.body['problem']).toMatch(/did not answer/);
    expect(host.body['declared']).toHaveLength(clusters.length);
    const compared = await api.change('POST', '/v1/inventory/comparisons');
    expect((await api.ended(compared.body.id)).result).toMatchObject({
      revision: 2,
      away: [1, 2, 3].map((n) => `h${unique}-${n}`),
      contradictions: 0,
      differences: expect.arrayContaining([expect.objectContaining({ kind: 'unknown' })]),
    });
  });

  test('of an inventory each field that is wrong is named, also where two are at odds', async () => {
    const [name = ''] = clusters;
    const members = { ...membersOf(name), n4: { host: `h${unique}-1`, source: place(name, 1) } };
    const { status, body } = await api.problem('PUT', '/v1/inventory', {
      body: { version: 1, clusters: { [name]: { members } } },
    });
    expect(status).toBe(400);
    expect(body.errors?.map(({ pointer }) => pointer)).toEqual([
      expect.stringContaining(`/clusters/${name}/members/n4`),
    ]);
  });

  test("a cluster's rollout: taken once, watched, steered, ended; each wish on record", async () => {
    const [cluster = ''] = clusters;
    const key = randomUUID();
    const body = { cluster, rolloutId: 'r1', policy, reason: 'the disks are old' };
    const started = await api.change('POST', '/v1/clusters', { key, body });
    const ended = await api.ended(started.body.id);
    expect(ended.result).toMatchObject({ cluster, rolloutId: 'r1', fresh: true });
    const again = await api.change('POST', '/v1/clusters', { key, body });
    expect(again.body).toEqual(ended);
    const other = await api.problem('POST', '/v1/clusters', { body: { ...body, rolloutId: 'r2' } });
    expect(`${other.status} ${other.body.code}`).toBe('409 rollout.illegal-action');

    const status = await eventually('the rollout to wait for its members', async () => {
      const seen = await api.get(`/v1/clusters/${cluster}`);
      const found = seen.body['status'] as { readonly waiting: unknown } | null;
      return found?.waiting != null && seen.body;
    });
    expect(status).toMatchObject({ run: 'running', status: { stage: 'preflight', paused: false } });
    const paused = await api.change('POST', `/v1/clusters/${cluster}/pause`);
    expect((await api.ended(paused.body.id)).state).toBe('done');
    expect((await api.get(`/v1/clusters/${cluster}`)).body).toMatchObject({
      status: { paused: true },
    });
    const watched = await api.open('GET', `/v1/clusters/${cluster}/events`);
    const left = await api.change('POST', `/v1/clusters/${cluster}/abandon`, {
      body: { reason: 'another day' },
    });
    expect((await api.ended(left.body.id)).state).toBe('done');
    // The stream ends with the rollout.
    expect(await watched.text()).toMatch(/"run":"completed"/);
    const trail = await api.get(`/v1/audit?subject=cluster/${cluster}&limit=200`);
    const lines = trail.body['items'] as { action: string; outcome: string | null; by: string }[];
    const byApi = lines.filter(({ by }) => by.includes('token'));
    expect(byApi.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual(
      expect.arrayContaining([
        'cluster.start null',
        'cluster.start done',
        'cluster.start failed: rollout.illegal-action',
        'cluster.pause done',
        'cluster.abandon done',
      ]),
    );
  });

  test('a fleet is counted, started from a snapshot, stopped', async () => {
    const body = { fleet, policy, selection: { labels: { env: 'test' } } };
    const planned = await api.change('POST', '/v1/fleets?dryRun=true', { body });
    expect((await api.ended(planned.body.id)).result).toMatchObject({
      clusters: 4,
      members: 12,
      hosts: 3,
      waves: [{ upTo: 1 }, { upTo: 2 }, { upTo: 4 }],
    });
    const none = await api.problem('POST', '/v1/fleets', {
      body: { ...body, selection: { labels: { env: 'none' } } },
    });
    expect(`${none.status} ${none.body.code}`).toBe('400 rollout.invalid');
    const started = await api.change('POST', '/v1/fleets', { body });
    const { result } = await api.ended(started.body.id);
    expect(result).toMatchObject({ fleet, fresh: true, rolloutId: expect.stringMatching(/^r-/) });
    const stopped = await api.change('POST', `/v1/fleets/${fleet}/stop`, {
      body: { reason: 'smoke' },
    });
    expect((await api.ended(stopped.body.id)).state).toBe('done');
    await eventually('the fleet to be stopped', async () => {
      const { body: seen } = await api.get(`/v1/fleets/${fleet}`);
      return (seen['status'] as { readonly stage: string } | null)?.stage === 'stopped';
    });
    await eventually('visibility to have it', async () => {
      const { body: listed } = await api.get('/v1/fleets?state=running');
      return (listed['items'] as { fleet: string }[]).some((item) => item.fleet === fleet);
    });
  });

  test('a schedule is made by an admin, paused with a note, resumed, deleted', async () => {
    const schedule = `s${unique}`;
    const body = {
      schedule,
      fleet: `${fleet}s`,
      policy,
      when: { cron: ['0 3 * * sat'] },
      timeZone: 'Europe/Berlin',
    };
    const approver = await api.token('approve');
    const forbidden = await api.problem('POST', '/v1/schedules', { body, token: approver });
    expect(forbidden.status).toBe(403);
    const wrong = await api.problem('POST', '/v1/schedules', {
      body: { ...body, when: { cron: ['never'] } },
    });
    expect(wrong.status).toBe(400);
    const made = await api.change('POST', '/v1/schedules', { body });
    expect((await api.ended(made.body.id)).result).toEqual({ schedule });
    const path = `/v1/schedules/${schedule}`;
    expect((await api.get(path)).body).toMatchObject({ paused: false, timeZone: 'Europe/Berlin' });
    await api.change('POST', `${path}/pause`, { body: { reason: 'holidays' } });
    expect((await api.get(path)).body).toMatchObject({ paused: true, note: 'holidays' });
    await api.change('POST', `${path}/resume`, { body: {} });
    expect((await api.get(path)).body).toMatchObject({ paused: false });
    const deleted = await api.call('DELETE', path);
    expect(deleted.status).toBe(202);
    expect((await api.problem('GET', path)).body.code).toBe('schedule.not-found');
  });
});

function membersOf(cluster: string): Record<string, { host: string; source: string }> {
  return Object.fromEntries(
    [1, 2, 3].map((n) => [`n${n}`, { host: `h${unique}-${n}`, source: place(cluster, n) }]),
  );
}

function place(cluster: string, n: number): string {
  return `local:///data/${cluster}/n${n}`;
}
