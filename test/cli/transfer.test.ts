import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { inputDigest } from '../../schemas/input-digest.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { ownReplica } from '../../storage/binding/replica-lease.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer as files } from '../../storage/node-file-layer.ts';
import { migrationInput } from '../steps/machine-driver.ts';
import { writeBraftDirectory } from '../../bench/braft-directory.ts';
import { fixtureUris, unpackFixture } from '../local/braft-fixtures.ts';
import { jsonLines, program, runCli } from './run-cli.ts';

describe('export, import and verify as commands', () => {
  let directory: string;
  let source: string;
  let image: string;

  const at = (scheme: string, name: string) => `${scheme}://${join(directory, name)}`;
  const cli = (args: readonly string[], stdin?: Uint8Array) =>
    runCli(args, {
      ...(stdin && { stdin }),
      env: { QUORUMSHIFT_STATE_DIR: join(directory, 'state') },
    });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'quorumshift-cli-'));
    unpackFixture('full-1', join(directory, 'a'));
    source = at('local', 'a');
    image = join(directory, 'a.qsi');
    expect((await cli(['export', source, '--image', image])).code).toBe(0);
  });

  afterAll(() => rm(directory, { recursive: true, force: true }));

  test.each(['local', 'rocksdb', 'sqlite'])(
    'an image file becomes an equal instance of %s [BOOT-3] [FAM-2]',
    async (scheme) => {
      const target = at(scheme, `file-${scheme}`);
      const imported = await cli(['import', '--image', image, target, '-o', 'jsonl']);
      expect(imported.stderr).toBe('');
      const verified = await cli(['verify', source, target, '-o', 'jsonl']);
      expect(verified).toMatchObject({ code: 0, stderr: '' });
      const digest = jsonLines(imported.stdout)[0]?.['digest'];
      expect(jsonLines(verified.stdout)).toEqual([{ t: 'verified', equal: true, digest }]);
      expect((await cli(['verify', target, '--image', image])).code).toBe(0);
    },
  );

  test('an image goes through pipes, to the byte the one in the file [IMG-8]', async () => {
    const exported = await cli(['export', source, '--image', '-']);
    expect(exported).toMatchObject({ code: 0, stderr: '' });
    const target = at('sqlite', 'piped');
    const imported = await cli(['import', '--image', '-', target], exported.stdout);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    expect((await cli(['verify', target, '--image', '-'], exported.stdout)).code).toBe(0);
  });

  test('different states: exit code 4, the earliest difference and what can be done [EQ-4]', async () => {
    unpackFixture('basic-1', join(directory, 'other'));
    const verified = await cli(['verify', source, at('local', 'other'), '-o', 'jsonl']);
    expect(verified.code).toBe(4);
    expect(jsonLines(Buffer.from(verified.stderr))).toEqual([
      expect.objectContaining({ t: 'error', code: 'state.different' }),
    ]);
    expect(jsonLines(verified.stdout)[0]).toMatchObject({ t: 'verified', equal: false });
  });

  test('instances of separate URIs and a shared store are verified, on either side [EQ-1]', async () => {
    const place = join(directory, 'merged');
    unpackFixture('merged-1', place);
    const { log, meta, snapshot, groupId = '' } = fixtureUris('merged-1', place);
    const first = ['--log', log, '--meta', meta, '--snapshot', snapshot, '--group', groupId];
    const other = first.map((word) => word.replace(/^--/, '--other-'));
    const target = at('rocksdb', 'of-merged');
    const merged = join(directory, 'merged.qsi');
    expect((await cli(['export', ...first, '--image', merged])).code).toBe(0);
    expect((await cli(['import', '--image', merged, target])).code).toBe(0);
    const base = `local://${place}`;
    for (const args of [
      [...first, target],
      [base, '--meta', meta, '--log', log, '--group', groupId, '--snapshot', snapshot, target],
      [target, ...other],
      [...first, '--image', merged],
      [...first, ...other],
    ]) {
      expect(await cli(['verify', ...args])).toMatchObject({ code: 0, stderr: '' });
    }
    const wrong = await cli(['verify', ...first, '--other-log', log, '-o', 'json']);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('the other needs a short URI, or all of --other-log');
  });

  test('into the memory of the command, which keeps nothing, is refused', async () => {
    const imported = await cli(['import', '--image', image, 'memory://nothing']);
    expect(imported.code).toBe(2);
    expect(imported.stderr).toContain('keeps nothing');
  });

  test('a target that is not empty is refused and untouched [BOOT-1]', async () => {
    const before = await cli(['inspect', source, '-o', 'jsonl']);
    const imported = await cli(['import', '--image', image, source]);
    expect(imported.code).toBe(3);
    expect(imported.stderr).toContain('error [instance.not-empty]');
    expect(imported.stderr).toContain('the target must be empty');
    expect(imported.stderr).toContain('what to do:');
    expect((await cli(['inspect', source, '-o', 'jsonl'])).stdout).toEqual(before.stdout);
  });

  test('a target that a replica’s record names is refused and untouched [ROLL-2] [CUT-1]', async () => {
    const target = at('local', 'named');
    const families = defaultFamilies();
    const input = migrationInput('m1', {
      source: families.expand(source),
      target: families.expand(target),
    });
    const stateDir = join(directory, 'state');
    const { replica } = input;
    const store = new RecordStore({ files, stateDir, replica, now: () => new Date() });
    const agentId = randomUUID();
    const taking = { agentId, claim: 'c', expectedLease: 0, mode: 'stopped' } as const;
    const owner = { ...taking, inputDigest: inputDigest(input) };
    await ownReplica(store, { input, ...owner, naming: (write) => write() });
    for (const how of [['--image', image], ['--discard']]) {
      const imported = await cli(['import', ...how, target]);
      expect(imported.code).toBe(3);
      expect(imported.stderr).toContain('error [instance.named-by-record]');
      expect(imported.stderr).toContain('c1/m1');
      expect(await readdir(directory)).not.toContain('named');
    }
  });

  test('a cut image is refused, and its place never opens; it is discarded [IMG-5] [BOOT-4]', async () => {
    const whole = (await cli(['export', source, '--image', '-'])).stdout;
    const cut = join(directory, 'cut.qsi');
    await writeFile(cut, whole.subarray(0, Math.floor(whole.length * 0.7)));
    const target = at('rocksdb', 'cut');
    const imported = await cli(['import', '--image', cut, target]);
    expect(imported.code).toBe(5);
    expect(imported.stderr).toContain('error [image.corrupt]');
    expect((await cli(['inspect', target])).code).not.toBe(0);
    expect((await cli(['import', '--discard', target])).code).toBe(0);
    expect(await readdir(directory)).not.toContain('cut');
    expect((await cli(['import', '--image', image, target])).code).toBe(0);
  });

  test.each([
    ['an unknown scheme', ['inspect', 'etcd:///x'], 2, 'uri.unknown-scheme'],
    ['a path where nothing is', ['inspect', 'local:///nowhere/a'], 3, 'instance.missing'],
    ['no image', ['import', 'memory://x'], 2, 'usage.invalid'],
    ['one instance to verify', ['verify', 'memory://x'], 2, 'usage.invalid'],
  ])('%s: exit code and code of the error', async (_what, args, code, error) => {
    const result = await cli([...args, '-o', 'json']);
    expect(result.code).toBe(code);
    expect(JSON.parse(result.stderr)).toMatchObject({
      t: 'error',
      code: error,
      message: expect.any(String),
      remedy: expect.any(String),
    });
  });

  describe('an import that is killed', () => {
    let big: string;

    beforeAll(async () => {
      await mkdir(join(directory, 'big'));
      const made = { bytes: 24 * 1024 * 1024, entryBytes: 1024, kind: 'random', seed: 7 } as const;
      writeBraftDirectory({ directory: join(directory, 'big'), ...made });
      big = join(directory, 'big.qsi');
      expect((await cli(['export', at('local', 'big'), '--image', big])).code).toBe(0);
    });

    test('opens nowhere, and is resumed by the same command [BOOT-4]', async () => {
      const target = at('sqlite', 'resumed');
      await killedImport(big, target);
      const opened = await cli(['inspect', target, '-o', 'json']);
      expect(opened.code).not.toBe(0);
      expect((await cli(['import', '--image', big, target])).code).toBe(0);
      expect((await cli(['verify', at('local', 'big'), target])).code).toBe(0);
    });

    test('is discarded, and nothing is left [BOOT-4]', async () => {
      const target = at('local', 'discarded');
      await killedImport(big, target);
      expect((await cli(['import', '--discard', target])).code).toBe(0);
      expect(await readdir(join(directory, 'discarded'))).toEqual([]);
    });
  });

  /** Ends the import by kill -9 once it has begun to write at its place. */
  async function killedImport(from: string, target: string): Promise<void> {
    const child = spawn(process.execPath, [program, 'import', '--image', from, target], {
      stdio: 'ignore',
      env: { ...process.env, QUORUMSHIFT_STATE_DIR: join(directory, 'state') },
    });
    const closed = new Promise<NodeJS.Signals | null>((done) => {
      child.once('close', (_code, signal) => done(signal));
    });
    while (child.exitCode === null && !(await hasStaged(target))) {
      await new Promise((done) => setImmediate(done));
    }
    child.kill('SIGKILL');
    expect(await closed).toBe('SIGKILL');
  }

  async function hasStaged(target: string): Promise<boolean> {
    const name = target.slice(target.lastIndexOf('/') + 1);
    const found = await readdir(directory, { recursive: true });
    return found.some((path) => path.startsWith(name) && path.includes('.quorumshift-import/'));
  }
});
