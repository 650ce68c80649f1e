import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { hasAll, Writer } from '../go/kv-writer.ts';
import { missing } from '../setup/toolchain.ts';
import { ClusterEnvironment } from './cluster-environment.ts';

describe.skipIf(missing('temporal') || missing('go'))('a cluster migrates by a workflow', () => {
  let environment: ClusterEnvironment;

  beforeAll(async () => {
    environment = await ClusterEnvironment.start();
  }, 120_000);

  afterAll(async () => environment.close());

  test(
    'under load: the leader last, no election but its transfer, nothing lost [ROLL-3] [ROLL-4] [ROLL-5] [I14]',
    {
      timeout: 180_000,
    },
    async () => {
      const { kv, client, members } = environment;
      const before = await environment.leader();
      const { term } = await environment.statusOf(before);
      const writers = ['a', 'b'].map((name) => new Writer(kv, name));
      await client.start(environment.rollout());
      expect(await environment.outcome()).toBe('finalized');
      await Promise.all(writers.map((writer) => writer.stop()));
      await hasAll(
        kv,
        writers.flatMap(({ acknowledged }) => acknowledged),
      );
      for (const member of members) {
        expect(await environment.storeOf(member).read()).toMatchObject({
          primary: { uris: { log: environment.target(member) } },
          migration: null,
          lastEnded: { id: 'r1-s1', result: 'finalized' },
        });
      }
      const { status } = await client.status('kv');
      const moved = status?.members.map(({ report }) => report?.seq ?? 0) ?? [];
      expect(moved).toHaveLength(members.length);
      const after = await environment.leader();
      expect(after).not.toBe(before);
      expect((await environment.statusOf(after)).term).toBe(term + 1);
    },
  );
});
