import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { digestElsewhere } from '../../host/restart-check.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer as files } from '../../storage/node-file-layer.ts';
import { appendOf } from '../../storage/testing/conformance-env.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';

async function instanceOf(scheme: string) {
  const directory = await mkdtemp(join(tmpdir(), 'quorumshift-restart-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const families = defaultFamilies();
  const uris = families.expand(`${scheme}://${directory}/a`);
  const instance = await families.open(uris, 'create', { files });
  await applyToInstance(instance, appendOf(0n, 300));
  const digest = await digestInstance(instance);
  return { directory, uris, instance, digest: digest.root };
}

test.each(['local', 'rocksdb', 'sqlite'])(
  'another process opens %s and finds the same digest; it cannot while it is held here [EQ-2]',
  async (scheme) => {
    const { uris, instance, digest } = await instanceOf(scheme);
    await expect(digestElsewhere(uris)).rejects.toMatchObject({ code: 'mirror.restart-failed' });
    await instance.close();
    expect(await digestElsewhere(uris)).toBe(digest);
  },
);

test('of one that its disk has damaged it says what it was told [EQ-2]', async () => {
  const { directory, uris, instance } = await instanceOf('local');
  await instance.close();
  const [segment = ''] = (await readdir(join(directory, 'a/log'))).filter((name) =>
    name.startsWith('log_inprogress'),
  );
  const file = await open(join(directory, 'a/log', segment), 'r+');
  await file.write(Buffer.from([0xff]), 0, 1, 100);
  await file.close();
  await expect(digestElsewhere(uris)).rejects.toThrow(/must open it: .*data.corrupt/);
});

test('it ends with whoever asked [OPS-1]', async () => {
  const { uris, instance } = await instanceOf('local');
  await instance.close();
  await expect(digestElsewhere(uris, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
});

test('it ends with a host that was killed: what it held open is free again [OPS-1]', async () => {
  const { uris, instance } = await instanceOf('rocksdb');
  await instance.close();
  const program = resolve('dist/host/digest-process.js');
  const child = spawn(process.execPath, [program, JSON.stringify(uris)]);
  const ended = once(child, 'exit');
  // What the end of the host does to its pipes.
  child.stdin.destroy();
  expect(await ended).toEqual([null, 'SIGKILL']);
  await (await defaultFamilies().open(uris, 'read-write', { files })).close();
});
