import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { MigrationEnvironment } from './migration-environment.ts';

describe.skipIf(missing('temporal'))('a source that a crash left', () => {
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('with a record torn off at its end: it migrates without it, as a node would start [FAM-9]', async () => {
    const source = await environment.unpack('node-killed', 'a');
    const segment = join(environment.data, 'a/log/log_inprogress_00000000000000000001');
    await truncate(segment, (await readFile(segment)).length - 5);
    const before = await environment.digest(source);
    const target = environment.uri('sqlite', 'b');
    await environment.client.start(environment.input({ source, target, id: 'torn' }));
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    const after = await environment.digest(target);
    expect(after.root).toBe(before.root);
    expect(after.range.lastIndex).toBe(700n);
  });

  test('without log_meta: a node would delete its log, so preflight refuses it by name and changes nothing [ROLL-2]', async () => {
    const source = await environment.unpack('basic-1', 'c');
    const logMeta = join(environment.data, 'c/log/log_meta');
    await writeFile(`${logMeta}.kept`, await readFile(logMeta));
    await truncate(logMeta, 0);
    const target = environment.uri('rocksdb', 'd');
    await environment.client.start(environment.input({ source, target, id: 'meta' }));
    await expect(environment.outcome()).rejects.toThrow('Workflow execution failed');
    const { failure } = await environment.client.status(environment.replica);
    expect(failure).toContain('log_meta');
  });
});
