import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { makeProof, readProof, writeProof } from '../../storage/equivalence/proof.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { sampleInstance } from '../image/sample-state.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quorumshift-proof-'));
});
afterAll(() => rm(directory, { recursive: true }));

const uris = { log: 'memory://a', meta: 'memory://a', snapshot: 'memory://a' };

async function sampleProof(seeds: { source: number; target: number }) {
  const digestOf = async (seed: number) => digestInstance(await sampleInstance({ seed }));
  return makeProof({
    migrationId: 'm1',
    generation: 2,
    source: { uris, digest: await digestOf(seeds.source) },
    target: { uris, digest: await digestOf(seeds.target) },
    createdAt: '2026-01-01T00:00:00.000Z',
  });
}

test('a proof is read as it was written, and names the cut [EQ-3]', async () => {
  const path = join(directory, 'proof.json');
  const proof = await sampleProof({ source: 1, target: 1 });
  await writeProof(nodeFileLayer, path, proof);
  expect(await readProof(nodeFileLayer, path)).toEqual(proof);
  expect(proof.cut).toEqual({ firstIndex: '1', lastIndex: '100', term: '1000' });
});

test('there is no proof of different digests [EQ-3]', async () => {
  await expect(sampleProof({ source: 1, target: 2 })).rejects.toThrow('invariant');
});

test('a proof file that was altered is refused; an absent one is none', async () => {
  const path = join(directory, 'altered.json');
  await writeProof(nodeFileLayer, path, await sampleProof({ source: 1, target: 1 }));
  const text = await readFile(path, 'utf8');
  const digest = /"digest": "(.)/.exec(text)?.[1] ?? '';
  const other = digest === '0' ? '1' : '0';
  await writeFile(path, text.replace(`"digest": "${digest}`, `"digest": "${other}`));
  await expect(readProof(nodeFileLayer, path)).rejects.toMatchObject({ code: 'data.corrupt' });
  expect(await readProof(nodeFileLayer, join(directory, 'absent.json'))).toBeNull();
});
