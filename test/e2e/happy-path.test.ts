import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { replicaText } from '../../core/ids.ts';
import { readJournal, verifyJournal } from '../../storage/binding/journal.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { runCli } from './run-cli.ts';

describe('a stopped replica migrates by a workflow', () => {
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('local to rocksdb to sqlite to local: the state is the same at each place, each step is on record [CUT-1] [BOOT-3] [I18]', async () => {
    const { client } = environment;
    const places = [
      await environment.unpack('node-killed', 'a'),
      environment.uri('rocksdb', 'b'),
      environment.uri('sqlite', 'c'),
      environment.uri('local', 'd'),
    ];
    const before = await environment.digest(places[0] ?? '');
    for (const [i, target] of places.slice(1).entries()) {
      const source = places[i] ?? '';
      await client.start(environment.input({ source, target, id: `m${i}` }));
      expect(await environment.outcome()).toMatchObject({
        outcome: 'finalized',
      });
      expect((await environment.digest(target)).root).toBe(before.root);
    }
    // The source's places hold fences; its directories lie aside.
    expect((await stat(join(environment.data, 'a', 'log'))).isFile()).toBe(true);
    const record = await environment.store.read();
    expect(record).toMatchObject({
      migration: null,
      primary: { parkedTag: null, uris: { log: `local://${environment.data}/d/log` } },
      lastEnded: { id: 'm2', result: 'finalized' },
    });
    const { journal } = environment.store.directory;
    const lines = await readJournal(nodeFileLayer, journal);
    expect(lines.filter((line) => line['event'] === 'ended')).toHaveLength(3);
    await verifyJournal(nodeFileLayer, journal);
  });

  test('starting twice with one id is one migration; with another input it is a conflict', async () => {
    const { client } = environment;
    const input = environment.input({
      source: environment.uri('local', 'd'),
      target: environment.uri('rocksdb', 'e'),
      id: 'twice',
    });
    expect(await client.start(input)).toMatchObject({ fresh: true });
    expect(await client.start(input)).toMatchObject({ fresh: false });
    await expect(
      client.start({
        ...input,
        target: environment.input({ source: 'memory://x', target: 'memory://y' }).target,
      }),
    ).rejects.toMatchObject({ code: 'migration.conflict' });
    await environment.outcome();
    expect(await client.start(input)).toMatchObject({ fresh: false });
  });

  test('an approval is waited for, an older proof is refused, and a rollback after the cutover brings the source back; its journal shows who said so [EQ-3] [CUT-5] [CUT-6] [OPS-4] [I18]', async () => {
    const { client, replica } = environment;
    const source = environment.uri('rocksdb', 'e');
    const before = await environment.digest(source);
    await client.start(
      environment.input({
        source,
        target: environment.uri('local', 'f'),
        id: 'back',
        policy: { approval: 'manual', finalize: 'manual' },
      }),
    );
    const waiting = await eventually('the wait for approval', async () => {
      const { status } = await client.status(replica);
      return status?.waiting?.kind === 'approval' ? status : null;
    });
    const proof = waiting.view?.proof;
    expect(proof?.digest).toBe(before.root);
    await expect(client.approve(replica, { digest: 'other', generation: 1 })).rejects.toMatchObject(
      { code: 'proof.stale' },
    );
    await client.approve(replica, proof ?? { digest: '', generation: 0 });
    await eventually('the soak', async () => {
      const { status } = await client.status(replica);
      return status?.waiting?.kind === 'finalize';
    });
    await client.rollback(replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back', reason: 'test' });
    expect((await environment.digest(source)).root).toBe(before.root);
    expect(await environment.store.read()).toMatchObject({
      primary: { parkedTag: null, uris: { log: source } },
    });
    // The target's place stays fenced: nothing may open there as empty.
    expect((await stat(join(environment.data, 'f', 'log'))).isFile()).toBe(true);

    // Without Temporal, and without the control plane's store.
    const shown = async (...options: string[]) => {
      const args = ['journal', replicaText(replica), ...options];
      const { code, stdout } = await runCli(environment, args, { TEMPORAL_ADDRESS: 'nobody:1' });
      expect(code).toBe(0);
      return stdout.trim().split('\n');
    };
    const lines = await shown('-o', 'jsonl');
    const ofBack: Record<string, unknown>[] = lines
      .map((line) => JSON.parse(line))
      .filter(({ migration }) => migration === 'back');
    const approved = { by: 'test', ...proof };
    expect(ofBack.filter(({ decision }) => decision !== undefined)).toEqual([
      expect.objectContaining({ event: 'begin', step: 'swap', decision: approved }),
    ]);
    expect(ofBack.find(({ event }) => event === 'decide-rollback')).toMatchObject({
      by: 'test',
      reason: 'test',
    });
    const text = await shown();
    const row = (event: string, what: string) =>
      new RegExp(`^\\d+ +[-\\d]+ [:\\d]+ +${event} +test +\\S+ +.*${what}`);
    expect(text).toContainEqual(expect.stringMatching(row('own', `back: ${source} to local://`)));
    expect(text).toContainEqual(
      expect.stringMatching(row('begin', `approved: proof ${before.root}, generation`)),
    );
    expect(text).toContainEqual(expect.stringMatching(row('decide-rollback', 'test$')));
    expect(text.at(-1)).toMatch(new RegExp(`^head: ${lines.length}:[0-9a-f]{64}$`));
  });
});
