import { once } from 'node:events';
import { connect } from 'node:net';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { limits } from '../../api/limits.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { ApiProcess } from './api-process.ts';

const start = {
  replica: { cluster: 'kv', member: 'n1' },
  host: 'm1',
  source: 'local:///data/a',
  target: 'rocksdb:///data/b',
  standalone: { note: 'alone' },
};

describe.skipIf(missing('temporal'))('a request that is wrong is told what is', () => {
  let api: ApiProcess;

  beforeAll(async () => {
    api = await ApiProcess.start(await sharedTemporal());
  });

  afterAll(() => api.close());

  test('fields: each one by its pointer, with our code and a remedy', async () => {
    const { status, headers, body } = await api.problem('POST', '/v1/migrations', {
      body: {
        ...start,
        host: 'no host',
        policy: { soakSeconds: -1, 'a/b~c': 1 },
        target: { log: 'rocksdb:///data/b' },
      },
    });
    expect(status).toBe(400);
    expect(headers.get('content-type')).toBe('application/problem+json');
    expect(body).toMatchObject({ status: 400, code: 'request.invalid', retryable: false });
    expect(body.remedy).not.toBe('');
    expect(body.errors?.map(({ in: place, pointer }) => `${place} ${pointer}`).toSorted()).toEqual([
      'body /host',
      'body /policy/a~1b~0c',
      'body /policy/soakSeconds',
      'body /target/meta',
      'body /target/snapshot',
    ]);
  });

  test('a URI that no family has: by its field, with the code of URIs', async () => {
    const body = { ...start, target: 'floppy:///a' };
    const answer = await api.problem('POST', '/v1/migrations', { body });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      code: 'uri.unknown-scheme',
      errors: [{ in: 'body', pointer: '/target' }],
    });
  });

  test('unknown parameters are refused, also where none are known', async () => {
    for (const path of [
      '/v1/migrations?sort=up',
      '/healthz?x=1',
      '/v1/audit/verification?deep=1',
    ]) {
      const { status, body } = await api.problem('GET', path);
      expect({ path, status, in: body.errors?.[0]?.in }).toEqual({
        path,
        status: 400,
        in: 'query',
      });
    }
    const { body } = await api.problem('GET', '/v1/migrations?limit=1000');
    expect(body.errors).toMatchObject([{ in: 'query', pointer: '/limit' }]);
  });

  test('a cursor is good for the list and the filters that it was made for', async () => {
    const forged = Buffer.from(JSON.stringify({ of: 'x', at: 'y' })).toString('base64url');
    for (const cursor of [forged, 'AAAA']) {
      const { status, body } = await api.problem('GET', `/v1/migrations?cursor=${cursor}`);
      expect({ status, code: body.code }).toEqual({ status: 400, code: 'request.invalid' });
    }
  });

  test('a body that is no JSON, too deep, too large, of another type, or not there', async () => {
    const answers = await Promise.all([
      api.problem('POST', '/v1/migrations', { body: '{"replica":' }),
      api.problem('POST', '/v1/migrations', { body: '['.repeat(100) + ']'.repeat(100) }),
      api.problem('POST', '/v1/migrations', { body: '{"__proto__":{"a":1}}' }),
      api.problem('POST', '/v1/migrations', { body: `"${'a'.repeat(limits.bodyBytes)}"` }),
      api.problem('POST', '/v1/migrations', {
        body: '<a/>',
        headers: { 'content-type': 'application/xml' },
      }),
      api.problem('POST', '/v1/migrations'),
    ]);
    expect(answers.map(({ status, body }) => `${status} ${body.code}`)).toEqual([
      '400 request.invalid',
      '400 request.invalid',
      '400 request.invalid',
      '413 request.body-too-large',
      '415 request.media-type',
      '400 request.invalid',
    ]);
  });

  test('what there is not: resources, methods, replicas, operations', async () => {
    expect((await api.problem('GET', '/v1/nothing')).body.code).toBe('request.not-found');
    const deleted = await api.problem('DELETE', '/v1/migrations');
    expect(deleted.status).toBe(405);
    expect(deleted.headers.get('allow')).toBe('GET, POST');
    expect((await api.problem('GET', '/v1/migrations/kv/nobody')).body).toMatchObject({
      status: 404,
      code: 'migration.not-found',
      details: { replica: 'kv/nobody' },
    });
    const id = '00000000-0000-8000-8000-000000000000';
    expect((await api.problem('GET', `/v1/operations/${id}`)).body.code).toBe(
      'operation.not-found',
    );
    expect((await api.problem('GET', '/v1/migrations/%zz/n1')).status).toBe(400);
  });

  test('a URL that is too long, headers that are too large, bytes that are no HTTP', async () => {
    const long = await api.problem('GET', `/v1/migrations?cursor=${'a'.repeat(limits.urlBytes)}`);
    expect(`${long.status} ${long.body.code}`).toBe('414 request.url-too-long');
    const large = await raw(api.url, `GET / HTTP/1.1\r\nx: ${'a'.repeat(limits.headerBytes)}\r\n`);
    expect(large).toMatch(/^HTTP\/1.1 431 [^]*request.headers-too-large/);
    const noise = await raw(api.url, 'this is no request\r\n\r\n');
    expect(noise).toMatch(/^HTTP\/1.1 400 [^]*application\/problem\+json/);
  });

  test('the key of a change is asked for before its body is read', async () => {
    for (const key of [null, 'two words', 'a'.repeat(201)]) {
      const { status, body } = await api.problem('POST', '/v1/migrations', { key, body: {} });
      expect(`${status} ${body.code}`).toBe('400 idempotency.key-missing');
    }
  });
});

describe.skipIf(missing('temporal'))('the server keeps itself up', () => {
  test('more requests than the rate allows are refused, with the time to wait', async () => {
    const api = await ApiProcess.start(await sharedTemporal(), { requestsPerMinute: 5 });
    try {
      const other = await api.token('view');
      const statuses: number[] = [];
      for (let i = 0; i < 7; i += 1) statuses.push((await api.get('/v1/hosts')).status);
      expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429]);
      const refused = await api.problem('GET', '/v1/hosts');
      expect(refused.body.code).toBe('api.rate-limited');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await api.get('/v1/hosts', { token: other })).status).toBe(200);
    } finally {
      await api.close();
    }
  });

  test('beyond its many requests under way it says so, and takes the next when those that do not come are cut off', async () => {
    const api = await ApiProcess.start(await sharedTemporal());
    const token = await api.token('operate');
    const { hostname, port } = new URL(api.url);
    // Each waits for a body that does not come.
    const head = [
      'POST /v1/plans HTTP/1.1',
      `host: ${hostname}`,
      `authorization: Bearer ${token}`,
      'idempotency-key: k',
      'content-type: application/json',
      'content-length: 10',
    ];
    const sockets = Array.from({ length: limits.requests }, () => {
      const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
      socket.on('error', () => {});
      socket.write(`${head.join('\r\n')}\r\n\r\n`);
      return socket;
    });
    try {
      const refused = await eventually('it to be full', async () => {
        const answer = await api.problem('GET', '/v1/hosts');
        return answer.status === 503 && answer;
      });
      expect(refused.body).toMatchObject({ code: 'api.overloaded', retryable: true });
      expect(refused.headers.get('retry-after')).toBe('1');
      const cutOff = await Promise.all(sockets.map((socket) => once(socket, 'data')));
      expect(String(cutOff[0])).toContain('it must have come wholly within 30 s');
      await eventually('it to take requests again', async () => {
        return (await api.get('/v1/hosts')).status === 200;
      });
    } finally {
      for (const socket of sockets) socket.destroy();
      await api.close();
    }
  });

  test('health, readiness and metrics; ended in order, with exit code 0', async () => {
    const api = await ApiProcess.start(await sharedTemporal());
    try {
      expect((await api.get('/healthz', { token: null })).body).toEqual({ alive: true });
      const ready = await api.get('/readyz', { token: null });
      expect(ready.body).toEqual({ temporal: 'ok', store: 'ok' });
      const { text } = await api.get('/metrics');
      expect(text).toMatch(
        /quorumshift_api_request_seconds_count\{method="GET",route="\/readyz",status="200"\} 1/,
      );
      const page = await api.get('/docs/', { token: null });
      expect(page.text).toContain('swagger-ui');
      expect(await api.end('SIGTERM')).toBe(0);
    } finally {
      await api.close();
    }
  });
});

/** What is answered to these bytes. */
async function raw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  socket.write(bytes);
  await new Promise((closed) => socket.once('close', closed));
  return answer;
}
