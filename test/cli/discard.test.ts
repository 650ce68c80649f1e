import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Phase } from '../../core/phases.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer as files } from '../../storage/node-file-layer.ts';
import { unpackFixture } from '../local/braft-fixtures.ts';
import { machineContext, MachineDriver, migrationInput } from '../steps/machine-driver.ts';
import { runCli } from './run-cli.ts';

const families = defaultFamilies();

describe('discard of the fences at a place', () => {
  let root: string;
  let image: string;

  const at = (scheme: string, name: string) => `${scheme}://${join(root, 'data', name)}`;
  const cli = (...args: readonly string[]) =>
    runCli(args, { env: { QUORUMSHIFT_STATE_DIR: join(root, 'state') } });

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'quorumshift-discard-'));
    await mkdir(join(root, 'data'));
    unpackFixture('basic-1', join(root, 'data', 'a'));
    image = join(root, 'a.qsi');
    expect((await cli('export', at('local', 'a'), '--image', image)).code).toBe(0);
  });

  afterEach(() => rm(root, { recursive: true }));

  function migration(options: { deleteSource?: boolean; rollbackAt?: Phase }): MachineDriver {
    const source = families.expand(at('local', 'a'));
    const target = families.expand(at('rocksdb', 'b'));
    const { deleteSource = false, ...rest } = options;
    const input = migrationInput('m1', { source, target, deleteSource });
    return new MachineDriver(machineContext(files, { root, families }), {
      name: 'm1',
      input,
      ...rest,
    });
  }

  test('removes those of a rolled-back target: until then an import says whose they are [CUT-7] [BOOT-1]', async () => {
    await migration({ rollbackAt: 'swap' }).drive();
    const target = at('rocksdb', 'b');
    for (const how of [['--image', image], ['--discard']]) {
      const refused = await cli('import', ...how, target);
      expect(refused.code).toBe(3);
      expect(refused.stderr).toContain('error [instance.fenced]');
      expect(refused.stderr).toContain('one of m1 for replica c1/m1 does');
      expect(refused.stderr).toContain('quorumshift discard <uri>');
    }
    const removed = await cli('discard', target);
    expect(removed).toMatchObject({ code: 0, stderr: '' });
    expect(removed.stdout.toString()).toBe(`removed the fences at ${join(root, 'data', 'b')}\n`);
    expect(await readdir(join(root, 'data'))).toEqual(['a']);
    expect((await cli('discard', target)).stdout.toString()).toContain('no fence stands at');
    expect((await cli('import', '--image', image, target)).code).toBe(0);
  });

  test('is refused while a record names the place [CUT-7]', async () => {
    const driver = migration({});
    while (driver.memory.view?.phase !== 'copy') await driver.perform(await driver.next());
    for (const place of [at('rocksdb', 'b'), at('local', 'a')]) {
      const refused = await cli('discard', place);
      expect(refused.code).toBe(3);
      expect(refused.stderr).toContain('error [instance.named-by-record]');
    }
    await driver.drive();
  });

  test.each([
    { what: 'the source of a finalized migration lies behind it', deleteSource: false },
    { what: 'its finalized migration deleted the source', deleteSource: true },
  ])('is refused where $what: a replica would start empty [CUT-7] [CUT-8]', async (options) => {
    await migration({ deleteSource: options.deleteSource }).drive();
    const refused = await cli('discard', at('local', 'a'));
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('error [fence.needed]');
    expect((await cli('inspect', at('local', 'a'))).stderr).toContain('instance.fenced');
  });
});
