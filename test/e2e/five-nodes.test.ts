import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { hasAll, KvWriter } from '../go/kv-writer.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import type { ClusterStatus } from '../../workflows/rollout-messages.ts';
import { ClusterEnvironment, stagesOf } from './cluster-environment.ts';
import { begun } from './cluster-journals.ts';

const isSkipped = missing('temporal') || missing('go') || !isLong;

describe.skipIf(isSkipped)('a cluster of five nodes, of which one only learns', () => {
  let environment: ClusterEnvironment;

  beforeAll(async () => {
    const families = ['local', 'rocksdb', 'sqlite', 'local'];
    environment = await ClusterEnvironment.start({ families, learners: 1 });
  }, 180_000);

  afterAll(async () => environment.close());

  test(
    'migrates under load, the learner first and the leader last, with the control worker, an agent and a host killed at random; nothing is lost [ROLL-3] [ROLL-5] [OPS-1] [I14]',
    { timeout: 300_000 },
    async () => {
      const seed = Number(process.env['QUORUMSHIFT_SEED'] ?? Date.now() % 1_000_000);
      console.log(`seed ${seed}`);
      const random = seededRandom(seed);
      const { kv, client, members } = environment;
      const leader = await environment.leader();
      const learner = 'n5';
      const followers = members.filter((member) => member !== leader && member !== learner);
      const writers = ['a', 'b'].map((name) => new KvWriter(kv, name));

      const rollout = await environment.rollout({ soakSeconds: 3600, finalize: 'manual' });
      await client.start(rollout);
      // The leader's own host is spared: with an election another would be the last.
      const others = [learner, ...followers];
      const host = `${others[random.below(others.length)]} host`;
      const agent = members[random.below(members.length)] ?? '';
      const kills = ['control', agent, host]
        .map((victim) => ({ victim, after: random.below(members.length - 1) }))
        .toSorted((a, b) => a.after - b.after);
      for (const { victim, after } of kills) {
        const soaking = (status: ClusterStatus) =>
          Object.values(stagesOf(status)).filter((is) => is === 'soaking').length;
        await environment.until(
          `${after} have moved`,
          (status) => soaking(status) >= after,
          120_000,
        );
        console.log(`kills ${victim} once ${after} have moved`);
        if (victim === host) await kv.kill(host);
        else {
          await environment.kill(victim);
          await environment.run(victim);
        }
      }
      await environment.until('all soak', ({ stage }) => stage === 'soaking', 180_000);
      expect(await begun(environment, `${rollout.rolloutId}-s`)).toEqual([
        learner,
        ...followers,
        leader,
      ]);
      await client.complete('kv');
      expect(await environment.outcome()).toBe('finalized');
      await Promise.all(writers.map((writer) => writer.stop()));
      await hasAll(
        kv,
        writers.flatMap(({ acknowledged }) => acknowledged),
      );
      for (const member of members) {
        expect(await environment.storeOf(member).read()).toMatchObject({
          primary: { uris: { log: environment.target(member, rollout.rolloutId) } },
          lastEnded: { id: `${rollout.rolloutId}-s1`, result: 'finalized' },
        });
      }
    },
  );
});
