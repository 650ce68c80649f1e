import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import { readInventory, readPolicy } from '../../control/inventory-file.ts';
import { clusterRollouts } from '../../control/rollout-input.ts';
import { families } from './open-store.ts';

describe('what editors are given', () => {
  test('docs/schemas is what the schemas say (node scripts/write-schemas.mjs)', () => {
    const args = [resolve('scripts/write-schemas.mjs'), '--stdout'];
    const printed = execFileSync(process.execPath, args, { encoding: 'utf8' });
    const files: Record<string, string> = JSON.parse(printed);
    expect(Object.keys(files)).toContain('inventory.schema.json');
    for (const [name, text] of Object.entries(files)) {
      expect(readFileSync(resolve('docs/schemas', name), 'utf8')).toBe(text);
    }
  });

  test('the example is taken, and names its schemas', async () => {
    const inventoryFile = resolve('examples/rollout/inventory.yaml');
    const policyFile = resolve('examples/rollout/policy.yaml');
    const rollouts = clusterRollouts(families, {
      inventory: await readInventory(families, inventoryFile),
      policy: await readPolicy(families, policyFile),
      name: { rolloutId: 'example', requestedBy: 'test' },
    });
    expect(rollouts.map(({ cluster }) => cluster)).toEqual(['kv-staging', 'kv-orders']);
    for (const file of [inventoryFile, policyFile]) {
      const [first = ''] = readFileSync(file, 'utf8').split('\n');
      const schema = /^# yaml-language-server: \$schema=(.+)$/.exec(first)?.[1] ?? '';
      expect(() => readFileSync(join(file, '..', schema))).not.toThrow();
    }
  });
});
