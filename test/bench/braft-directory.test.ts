import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { writeBraftDirectory } from '../../bench/braft-directory.ts';
import { localFamily } from '../../storage/families/local/family.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'quorumshift-generated-'));
});

afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

function generate(name: string, seed: number) {
  const directory = join(scratch, name);
  const bytes = 20 * 1024 * 1024;
  const sizes = { bytes, entryBytes: 4000, snapshotFiles: 2 };
  return { directory, made: writeBraftDirectory({ directory, seed, kind: 'text', ...sizes }) };
}

async function hashOf(directory: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  for (const path of paths.toSorted()) {
    hash.update(path.slice(directory.length)).update(await readFile(path));
  }
  return hash.digest('hex');
}

test('the same seed gives the same bytes, another seed others', async () => {
  const [a, again, other] = [generate('a', 7), generate('again', 7), generate('other', 8)];
  expect(await hashOf(again.directory)).toBe(await hashOf(a.directory));
  expect(await hashOf(other.directory)).not.toBe(await hashOf(a.directory));
});

test('a generated directory of several segments reads as a whole, checksums and snapshot included', async () => {
  const { directory, made } = generate('a', 7);
  const uris = localFamily.expand(`local://${directory}`);
  const instance = await localFamily.open(uris, 'read-only', { files: nodeFileLayer });
  try {
    const { firstIndex, lastIndex, meta, snapshot } = instance.state();
    expect([firstIndex, lastIndex]).toEqual([BigInt(made.firstIndex), BigInt(made.lastIndex)]);
    expect(meta.term).toBe(BigInt(made.term));
    expect(snapshot?.lastIncludedIndex).toBe(firstIndex - 1n);
    let entries = 0n;
    for await (const batch of instance.read(firstIndex, lastIndex)) entries += BigInt(batch.count);
    expect(entries).toBe(lastIndex - firstIndex + 1n);
    expect(instance.warnings).toEqual([]);
  } finally {
    await instance.close();
  }
});
