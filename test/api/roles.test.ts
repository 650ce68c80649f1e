import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createApiServer, type ApiServer } from '../../api/api-server.ts';
import { roles } from '../../control/token-table.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import { ApiProcess } from './api-process.ts';

describe.skipIf(missing('temporal'))('roles', () => {
  let api: ApiProcess;
  let server: ApiServer;
  let closeServer: () => Promise<void>;

  beforeAll(async () => {
    const temporal = await sharedTemporal();
    api = await ApiProcess.start(temporal, { requestsPerMinute: 100_000 });
    // Who may ask for a machine is answered by a control worker, soon: its agent is not there.
    await api.startControl();
    // The same server in this process: it says itself which routes it has.
    const client = await connectClient(temporal);
    const { store } = api;
    const options = { temporal: client, address: temporal.address, store } as const;
    server = await createApiServer({ ...options, authentication: 'tokens', perMinute: 100_000 });
    await server.app.listen({ host: '127.0.0.1', port: 0 });
    closeServer = async () => {
      await server.app.close();
      await client.connection.close();
    };
  });

  afterAll(async () => {
    await closeServer();
    await api.close();
  });

  test('every route takes its role and those above it, and refuses all others', async () => {
    const { port } = server.app.server.address() as AddressInfo;
    const past = Date.now() - 1;
    const tokens: [string, string | null][] = [
      ['none', null],
      ['unknown', `qs_${'a'.repeat(43)}`],
      ['expired', await api.token('admin', past)],
    ];
    for (const role of roles) tokens.push([role, await api.token(role)]);
    const rank = (name: string | undefined) => roles.findIndex((role) => role === name);
    const wrong: string[] = [];
    for (const { method, url, role } of server.routes) {
      const asked = tokens.map(async ([who, token]) => {
        const refused = rank(who) === -1 ? 401 : 403;
        const allowed = role === 'public' || (rank(who) >= rank(role) && rank(who) !== -1);
        const status = await statusOf(port, { method, url, token });
        const right = allowed ? status !== 401 && status !== 403 : status === refused;
        if (!right) wrong.push(`${method} ${url} as ${who}: ${status}`);
      });
      await Promise.all(asked);
    }
    expect(wrong).toEqual([]);
    expect(server.routes.length).toBeGreaterThan(20);
  }, 120_000);

  test('a start that asks nobody for its cutovers takes a token that may approve them; a plan any', async () => {
    const operator = await api.token('operate');
    const approver = await api.token('approve');
    const target = 'rocksdb:///data/{member}';
    const source = 'local:///data/a';
    const cluster = `roles${process.pid}`;
    const starts = [
      ['migrations', ['none'], { host: 'away', source, target: 'rocksdb:///data/b' }],
      ['clusters', ['none'], { cluster: 'not-there' }],
      ['fleets', ['none', 'per-wave'], { fleet: 'not-there' }],
    ] as const;
    const seen: Record<string, string> = {};
    for (const [path, asking, given] of starts) {
      const ofReplica = path === 'migrations';
      const approvals = ofReplica ? ['none', 'manual'] : ['none', 'per-cluster', 'per-wave'];
      for (const approval of approvals) {
        const body = ofReplica
          ? { ...given, policy: { approval }, replica: { cluster, member: approval } }
          : { ...given, policy: { approval, target } };
        const ask = (token: string, query: string) =>
          api.problem('POST', `/v1/${path}${query}`, { body, token });
        const refused = await ask(operator, '');
        seen[`${path} ${approval}`] = `${refused.status}`;
        if (asking.some((one) => one === approval)) {
          expect(refused.body).toMatchObject({ code: 'auth.approval', status: 403 });
          expect(refused.body.detail).toContain(`policy.approval "${approval}"`);
          expect(refused.body.detail).toContain('role approve or more: it has operate');
        }
        expect((await ask(approver, '')).status).not.toBe(403);
        expect((await ask(operator, '?dryRun=true')).status).not.toBe(403);
      }
    }
    // What is not refused for its role finds no inventory here; a replica needs none.
    expect(seen).toEqual({
      'migrations none': '403',
      'migrations manual': '202',
      'clusters none': '403',
      'clusters per-cluster': '400',
      'clusters per-wave': '400',
      'fleets none': '403',
      'fleets per-cluster': '400',
      'fleets per-wave': '403',
    });
    // Nothing of what was refused is anywhere.
    const { body } = await api.get('/v1/audit?action=migration.start&limit=10');
    const lines = body['items'] as { readonly role: string; readonly outcome: string | null }[];
    expect(lines.filter(({ outcome }) => outcome === null).map(({ role }) => role)).toEqual([
      'approve',
      'operate',
      'approve',
    ]);
  });

  test('every route says its role, and docs/api.md says the same', async () => {
    const documented = (await readFile('docs/api.md', 'utf8')).split('\n').flatMap((line) => {
      const row = /^\| `([A-Z]+) (\S+)` +\| (\w+) +\|/.exec(line);
      return row === null ? [] : [`${row[1]} ${row[2]} ${row[3]}`];
    });
    const routes = server.routes
      .filter(({ url }) => !url.startsWith('/docs/'))
      .map(({ method, url, role }) => {
        const path = url.replaceAll(/:(\w+)/g, '{$1}');
        return `${method} ${path} ${role ?? 'NO ROLE'}`;
      });
    expect(documented.toSorted()).toEqual(routes.toSorted());
  });

  test('a token that is revoked counts no more, at once; all refusals read the same', async () => {
    const token = await api.token('admin');
    expect((await api.get('/v1/hosts', { token })).status).toBe(200);
    const id = (await api.store.tokens.verify(token))?.id ?? '';
    await api.store.tokens.revoke(id);
    const refused = await Promise.all(
      [token, `qs_${'b'.repeat(43)}`, 'nonsense', null].map((given) =>
        api.problem('GET', '/v1/hosts', { token: given }),
      ),
    );
    const said = refused.map(({ body }) => JSON.stringify({ ...body, instance: '' }));
    expect(new Set(said).size).toBe(1);
    expect(refused[0]?.body).toMatchObject({ status: 401, code: 'auth.refused' });
    expect(refused[0]?.headers.get('www-authenticate')).toBe('Bearer');
  });

  test('without tokens it listens on the loopback interface alone, and says so', async () => {
    const temporal = await sharedTemporal();
    await expect(
      ApiProcess.start(temporal, { authentication: 'off', listen: '0.0.0.0:0' }),
    ).rejects.toThrow(/usage.invalid.*loopback interface alone/);
    const open = await ApiProcess.start(temporal, { authentication: 'off' });
    try {
      expect(open.output).toContain('NO TOKEN');
      expect((await open.get('/v1/hosts', { token: null })).status).toBe(200);
    } finally {
      await open.close();
    }
  });
});

/** Without a body, and for nobody's replica: who may ask gets an answer, of whatever kind. */
async function statusOf(
  port: number,
  asked: { readonly method: string; readonly url: string; readonly token: string | null },
): Promise<number> {
  const path = asked.url.replaceAll(/:\w+/g, '1').replace('*', 'index.css');
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: asked.method,
    ...(asked.token !== null && { headers: { authorization: `Bearer ${asked.token}` } }),
  });
  await response.body?.cancel();
  return response.status;
}
