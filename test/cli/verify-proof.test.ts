import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { fencePath, parkedName } from '../../storage/binding/path-fence.ts';
import { makeProof, writeProof } from '../../storage/equivalence/proof.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer as files } from '../../storage/node-file-layer.ts';
import { appendOf } from '../../storage/testing/conformance-env.ts';
import { applyToInstance, type ModelMutation } from '../../storage/testing/state-model.ts';
import { runCli } from './run-cli.ts';

const families = defaultFamilies();

describe('verify --proof', () => {
  let root: string;
  let proof: string;
  const uris = (name: 'local' | 'sqlite') => families.expand(`${name}://${root}/${name}`);

  const change = async (name: 'local' | 'sqlite', ...mutations: readonly ModelMutation[]) => {
    const instance = await families.open(uris(name), 'read-write', { files });
    for (const mutation of mutations) await applyToInstance(instance, mutation);
    await instance.close();
  };

  const verdict = async () => {
    const { code, stdout, stderr } = await runCli(['verify', '--proof', proof, '-o', 'json']);
    const { source, target } = JSON.parse(stdout.toString('utf8')) as Record<string, unknown>;
    return { code, source, target, stderr };
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'quorumshift-proof-'));
    proof = join(root, 'proof.json');
    const sides = [];
    for (const name of ['local', 'sqlite'] as const) {
      const instance = await families.open(uris(name), 'create', { files });
      await applyToInstance(instance, appendOf(0n, 200));
      sides.push({ uris: uris(name), digest: await digestInstance(instance) });
      await instance.close();
    }
    const [source, target] = sides;
    if (source === undefined || target === undefined) throw new Error('two sides were made');
    const createdAt = new Date(0).toISOString();
    const made = makeProof({ migrationId: 'm1', generation: 1, source, target, createdAt });
    await writeProof(files, proof, made);
  });

  afterEach(() => rm(root, { recursive: true }));

  test('both as they were; one is parked behind its fence [EQ-3] [CUT-9]', async () => {
    const path = join(root, 'sqlite');
    const owner = { replica: 'kv/n1', migration: 'm1' };
    await fencePath(files, { path, parked: parkedName(path, 'm1-target') }, owner);
    expect(await verdict()).toMatchObject({ code: 0, source: 'as-proven', target: 'as-proven' });
  });

  test('one was written on, the other has dropped what was proven [EQ-3]', async () => {
    await change('local', appendOf(200n, 10));
    await change('sqlite', { truncate: { firstKept: 100n } });
    expect(await verdict()).toMatchObject({ code: 0, source: 'log-as-proven', target: 'trimmed' });
  });

  test('entries of the cut were replaced: exit code 4 [EQ-3] [EQ-4]', async () => {
    await change('sqlite', { truncate: { lastKept: 150n }, ...appendOf(150n, 50, 9n) });
    const { code, target, stderr } = await verdict();
    expect([code, target]).toEqual([4, 'log-differs']);
    expect(stderr).toContain('state.different');
  });

  test('a damaged proof, one that is missing, and an instance beside it are refused', async () => {
    const text = await readFile(proof, 'utf8');
    const other = text.replace(/"digest": "[0-9a-f]{8}/, '"digest": "00000000');
    await rm(proof);
    expect((await runCli(['verify', '--proof', proof])).stderr).toContain('usage.invalid');
    const damaged = join(root, 'damaged.json');
    await files.open(damaged, 'create').then(async (file) => {
      await file.write(Buffer.from(other), 0);
      await file.close();
    });
    await rename(damaged, proof);
    expect((await runCli(['verify', '--proof', proof])).stderr).toContain('data.corrupt');
    const both = await runCli(['verify', `local://${root}/local`, '--proof', proof]);
    expect(both.stderr).toContain('usage.invalid');
  });
});
