import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { ApiProcess } from './api-process.ts';

interface Operation {
  readonly operationId?: string;
  readonly responses: Readonly<Record<string, unknown>>;
}

describe.skipIf(missing('temporal'))('the OpenAPI document', () => {
  let api: ApiProcess;

  beforeAll(async () => {
    api = await ApiProcess.start(await sharedTemporal());
  });

  afterAll(() => api.close());

  test('of the server is docs/openapi.json ("npm run openapi" writes it)', async () => {
    const { body } = await api.get('/openapi.json', { token: null });
    expect(body).toEqual(JSON.parse(await readFile('docs/openapi.json', 'utf8')));
    expect(body['openapi']).toMatch(/^3\.1\./);
  });

  test("is what the client's types were made from", async () => {
    const digest = createHash('sha256')
      .update(await readFile('docs/openapi.json'))
      .digest('hex');
    const [head] = (await readFile('client/http/gen/paths.ts', 'utf8')).split('\n');
    expect(head).toContain(`SHA-256 ${digest}.`);
  });

  test('names every operation once, and says of each what is refused', async () => {
    const { body } = await api.get('/openapi.json', { token: null });
    const paths = Object.values(body['paths'] as Record<string, Record<string, Operation>>);
    const operations = paths.flatMap((path) => Object.values(path));
    const names = operations.map(({ operationId }) => operationId);
    expect(new Set(names).size).toBe(operations.length);
    expect(names).not.toContain(undefined);
    expect(operations.filter(({ responses }) => !('400' in responses))).toEqual([]);
  });
});
