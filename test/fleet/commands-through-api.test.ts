/** An operator who can reach the API alone: every command, with real machines behind it. */
import { readFile, writeFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { ClusterReportSeen } from '../../client/cluster-client.ts';
import { HttpControlPlane } from '../../client/http/http-control-plane.ts';
import { roles, type Role } from '../../control/token-table.ts';
import { runCli, type CliResult } from '../cli/run-cli.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { FleetEnvironment } from './fleet-environment.ts';

const long = { timeout: 400_000 };

describe.skipIf(missing('temporal'))('commands through the API', () => {
  let environment: FleetEnvironment;
  let policy: string[];
  const tokens = new Map<Role, string>();
  /** A watch of what does not end would outlive us. */
  const ended = new AbortController();

  beforeAll(async () => {
    environment = await FleetEnvironment.create({ machines: 3, clusters: ['a', 'b'] });
    await environment.run([...environment.processes, 'api']);
    const made = roles.map(async (role) => {
      const text = await environment.cli('token', 'create', role, '--role', role, '-o', 'json');
      tokens.set(role, (JSON.parse(text) as { readonly secret: string }).secret);
    });
    await Promise.all(made);
    const given = await environment.files({ approval: 'per-cluster', finalize: 'manual' });
    policy = ['--policy', given.at(-1) ?? ''];
  }, 120_000);

  afterAll(async () => {
    ended.abort();
    await environment.close();
  });

  /** Whoever this is knows no Temporal server, and no store. */
  async function as(role: Role, ...args: readonly string[]): Promise<CliResult & { text: string }> {
    const answer = await runCli(args, {
      signal: ended.signal,
      env: {
        TEMPORAL_ADDRESS: '127.0.0.1:1',
        QUORUMSHIFT_CONTROL_DIR: environment.path('nowhere'),
        QUORUMSHIFT_API: environment.apiUrl,
        QUORUMSHIFT_API_TOKEN: tokens.get(role) ?? '',
      },
    });
    return { ...answer, text: answer.stdout.toString('utf8') };
  }

  async function json(role: Role, ...args: readonly string[]): Promise<unknown> {
    const { code, stderr, text } = await as(role, ...args, '-o', 'json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(text);
  }

  const statusOf = async (cluster: string) =>
    (await json('view', 'cluster', 'status', cluster)) as ClusterReportSeen;

  const waits = (cluster: string, kind: string) =>
    eventually(
      `cluster ${cluster} waits: ${kind}`,
      async () => {
        // A fleet starts it in a moment.
        const seen = await environment.clusters.status(cluster).catch(() => null);
        return seen?.status?.waiting?.kind === kind;
      },
      300_000,
    );

  test('an inventory must be there; the one of a file must be the same', long, async () => {
    const none = await as('operate', 'cluster', 'plan', 'a', ...policy);
    expect(none.code).toBe(2);
    const file = environment.path('inventory.yaml');
    const declared = await readFile(file, 'utf8');
    expect((await as('approve', 'inventory', 'put', file)).stderr).toContain('error [auth.role]');
    const difference = { added: ['a', 'b'], removed: [], changed: [] };
    expect(await json('admin', 'inventory', 'put', file, '--dry-run')).toMatchObject({
      ...{ t: 'inventory-put', revision: null, difference },
    });
    const put = await json('admin', 'inventory', 'put', file);
    expect(put).toMatchObject({ revision: { revision: 1 }, difference });
    const { differences } = (await json('operate', 'inventory', 'diff')) as {
      differences: { kind: string }[];
    };
    // Nothing has been migrated: the agents know of none, which contradicts nothing.
    expect(differences.map(({ kind }) => kind)).toEqual(
      Array.from({ length: 6 }, () => 'no-record'),
    );
    expect((await as('operate', 'inventory', 'diff', file)).code).toBe(2);
    const trail = ['audit', 'list', '--action', 'inventory.put', '--limit', '1'];
    const { lines } = (await json('view', ...trail)) as { lines: { subject: string }[] };
    expect(lines).toEqual([expect.objectContaining({ subject: 'inventory', role: 'admin' })]);
    const same = ['--inventory', file];
    expect(await json('operate', 'cluster', 'plan', 'a', ...policy, ...same)).toMatchObject({
      t: 'plan',
      cluster: 'a',
      order: ['n2', 'n3', 'n1'],
      refusals: [],
    });
    const other = environment.path('other.yaml');
    await writeFile(other, declared.replaceAll('b-n2', 'b-n9'));
    const differing = ['--inventory', other];
    const refused = await as('operate', 'fleet', 'plan', 'f', ...policy, ...differing);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('error [rollout.invalid]');
    expect(refused.stderr).toMatch(/they differ in b;/);
    // Of what does not differ it is no matter.
    const plan = await json('operate', 'fleet', 'plan', 'f', ...policy, '--clusters', 'a');
    expect(plan).toMatchObject({ clusters: [{ cluster: 'a', members: 3, refusals: [] }] });
  });

  test(
    'a cluster is rolled out, watched and steered, by roles; what is refused is said so',
    long,
    async () => {
      const start = ['cluster', 'start', 'a', ...policy, '--id', 'r1'];
      const asked = await environment.files({ approval: 'none' });
      const alone = ['cluster', 'start', 'a', '--policy', asked.at(-1) ?? ''];
      const unapproved = await as('operate', ...alone);
      expect(unapproved.code).toBe(3);
      expect(unapproved.stderr).toContain('error [auth.approval]');
      expect(unapproved.stderr).toContain('what to do: Use a token of that role');
      await environment.files({ approval: 'per-cluster', finalize: 'manual' });
      const started = { t: 'started', cluster: 'a', rolloutId: 'r1', workflowId: 'cluster/a' };
      expect(await json('operate', ...start)).toEqual({ ...started, fresh: true });
      expect(await json('operate', ...start)).toEqual({ ...started, fresh: false });
      const watched = as('view', 'cluster', 'status', '-w', 'a', '-o', 'jsonl');

      await waits('a', 'approval');
      expect((await as('view', 'cluster', 'pause', 'a')).stderr).toContain('error [auth.role]');
      const paused = await as('operate', 'cluster', 'pause', 'a');
      expect(paused.text).toBe('accepted; it stands paused: "cluster resume a"\n');
      expect((await statusOf('a')).status?.paused).toBe(true);
      expect(await json('operate', 'cluster', 'throttle', 'a', '500MiB')).toMatchObject({
        t: 'accepted',
        fresh: true,
      });
      await json('operate', 'cluster', 'resume', 'a');
      expect((await as('operate', 'cluster', 'approve', 'a')).code).toBe(3);
      // As Temporal itself says it.
      const [seen, straight] = [await statusOf('a'), await environment.clusters.status('a')];
      expect(seen.status?.rollout).toEqual(JSON.parse(JSON.stringify(straight.status?.rollout)));
      expect(seen.status?.rollout.requestedBy).toMatch(/^operate \(token /);
      await json('approve', 'cluster', 'approve', 'a');
      await waits('a', 'finalize');
      const late = await as('approve', 'cluster', 'skip', 'a', 'n1');
      expect(late.code).toBe(3);
      expect(late.stderr).toContain('error [rollout.illegal-action]');
      await json('approve', 'cluster', 'complete', 'a', '--yes');
      const { code, text } = await watched;
      expect(code).toBe(0);
      expect(text.trim().split('\n').at(-1)).toContain('"outcome":"finalized"');
      expect(await environment.primaries('a')).toEqual(environment.targets('a'));
      const listed = await eventually('visibility to have it', async () => {
        const runs = (await json('view', 'cluster', 'list')) as { readonly run: string }[];
        return runs.some(({ run }) => run === 'completed') && runs;
      });
      expect(listed).toMatchObject([{ cluster: 'a', rolloutId: 'r1' }]);
    },
  );

  test(
    'a fleet is started from the inventory that is there, stopped, shown as a tree, taken back',
    long,
    async () => {
      const started = await json('operate', 'fleet', 'start', 'f', ...policy, '--clusters', 'b');
      expect(started).toMatchObject({
        t: 'started',
        fleet: 'f',
        fresh: true,
        snapshot: expect.any(String),
      });
      await waits('b', 'approval');
      const tree = await as('view', 'fleet', 'status', 'f');
      expect(tree.text).toMatch(/1 of 1 begun, 1 under way/);
      expect(tree.text).toMatch(/n1 on m\d: /);
      expect(await json('operate', 'fleet', 'stop', 'f', '--reason', 'page')).toMatchObject({
        t: 'accepted',
      });
      await environment.until('f', 'it is stopped', ({ stage }) => stage === 'stopped');
      expect((await as('operate', 'fleet', 'rollback', 'f')).code).toBe(3);
      const watched = as('view', 'fleet', 'status', '-w', 'f');
      await json('approve', 'fleet', 'rollback', 'f', '--reason', 'another day');
      // What was stopped takes no step before it is resumed.
      await json('operate', 'fleet', 'resume', 'f');
      expect(await environment.outcome('f')).toBe('rolled-back');
      expect(await watched).toMatchObject({
        code: 0,
        text: expect.stringMatching(/outcome +rolled-back/),
      });
      expect(await json('view', 'fleet', 'list', '--limit', '1')).toMatchObject([{ fleet: 'f' }]);
    },
  );

  test('a schedule is made and steered by an admin', long, async () => {
    const times = ['--fleet', 'g', '--cron', '0 4 29 feb *'];
    const create = ['schedule', 'create', 's', ...policy, ...times];
    expect((await as('approve', ...create)).stderr).toContain('error [auth.role]');
    const made = await json('admin', ...create, '--note', 'a drill');
    expect(made).toMatchObject({ t: 'created', schedule: 's', fleet: 'g', note: 'a drill' });
    expect((await as('admin', ...create)).stderr).toContain('error [schedule.exists]');
    await json('admin', 'schedule', 'pause', 's');
    expect((await as('view', 'schedule', 'list')).text).toMatch(/^s +g +paused/);
    await json('admin', 'schedule', 'resume', 's');
    expect(await json('view', 'schedule', 'show', 's')).toMatchObject({ paused: false });
    expect((await as('admin', 'schedule', 'delete', 's')).text).toBe('deleted schedule s\n');
    expect((await as('view', 'schedule', 'show', 's')).code).toBe(3);
  });

  test('without an API, or with a URL that is none, a command says what it lacks', async () => {
    const away = ['cluster', 'status', 'a', '--api', 'http://127.0.0.1:1'];
    expect((await as('view', ...away)).stderr).toContain('error [api.unreachable]');
    const wrong = await as('view', 'fleet', 'list', '--api', 'nonsense');
    expect(wrong.stderr).toContain('error [usage.invalid]');
    const none = await as('view', 'cluster', 'plan', 'a', ...policy, '--api', '');
    expect(none.stderr).toContain('--inventory is missing');
  });

  test('the typed clients are those that the commands have', async () => {
    const plane = new HttpControlPlane({
      url: environment.apiUrl,
      token: tokens.get('view') ?? '',
    });
    const reports = plane.fleets.watch('f', { intervalMs: 1 });
    expect((await reports.next()).value).toMatchObject({ fleet: 'f', run: 'completed' });
    expect((await reports.next()).done).toBe(true);
    await expect(plane.clusters.status('nobody')).rejects.toMatchObject({
      code: 'rollout.not-found',
    });
  });
});
