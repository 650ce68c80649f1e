import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { defaultFamilies } from '../../storage/families/registry.ts';
import { hasAll, KvWriter } from '../go/kv-writer.ts';
import { runCli } from '../cli/run-cli.ts';
import { identity } from '../../cli/identity.ts';
import { auditLines, told } from '../setup/audit-lines.ts';
import { missing } from '../setup/toolchain.ts';
import { clusterWorkflowId, replicaWorkflowId } from '../../core/ids.ts';
import { memberOrderSignal, type ClusterStatus } from '../../workflows/rollout-messages.ts';
import { ClusterEnvironment, stagesOf } from './cluster-environment.ts';
import { memberOf, stage, waitsForWord } from './cluster-looks.ts';

describe.skipIf(missing('temporal') || missing('go'))('a cluster migrates by a workflow', () => {
  let environment: ClusterEnvironment;

  beforeAll(async () => {
    environment = await ClusterEnvironment.start();
  }, 120_000);

  afterAll(async () => environment.close());

  const refused = (kind: string, member: string) => (status: ClusterStatus) =>
    status.waiting?.kind === 'health' &&
    status.refusals.some((refusal) => refusal.kind === kind && refusal.member === member);

  test(
    'under load: the leader last, no election but its transfer, nothing lost, each decision on record with its proof [ROLL-3] [ROLL-4] [ROLL-5] [I14] [OPS-4] [I18]',
    {
      timeout: 400_000,
    },
    async () => {
      const { kv, client, members } = environment;
      const order = await environment.inOrder();
      const before = order.at(-1) ?? '';
      const { term } = await environment.statusOf(before);
      const writers = ['a', 'b'].map((name) => new KvWriter(kv, name));
      const rollout = await environment.rollout();
      const { rolloutId } = rollout;
      const files = await environment.writeFiles(rollout);
      const cli = async (command: string, ...args: readonly string[]) => {
        const answer = await runCli(['cluster', command, ...args], { env: environment.address });
        expect(answer.code, answer.stderr).toBe(0);
        return answer.stdout.toString('utf8');
      };
      const plan = await cli('plan', 'kv', ...files);
      expect(plan).toContain(`order    ${order.join(', ')}\n`);
      expect(plan.match(/on n\d: (\d+) of \1 checks passed; live/g)).toHaveLength(members.length);
      expect(await cli('start', 'kv', ...files, '--id', rolloutId)).toContain('started: rollout');
      const moving = await environment.until('the leader moves', stage(before, 'moving'), 90_000);
      expect(new Set(Object.values(stagesOf(moving)))).toEqual(new Set(['moving', 'soaking']));
      const tree = await cli('status', 'kv');
      for (const member of members) expect(tree).toMatch(new RegExp(`─ ${member} on ${member}: `));
      expect(await environment.outcome()).toBe('finalized');
      expect(await cli('list')).toMatch(new RegExp(`kv +${rolloutId} +completed`));
      await Promise.all(writers.map((writer) => writer.stop()));
      await hasAll(
        kv,
        writers.flatMap(({ acknowledged }) => acknowledged),
      );
      for (const member of members) {
        expect(await environment.storeOf(member).read()).toMatchObject({
          primary: { uris: { log: environment.target(member, rollout.rolloutId) } },
          migration: null,
          lastEnded: { id: `${rollout.rolloutId}-s1`, result: 'finalized' },
        });
      }
      const { status } = await client.status('kv');
      expect(status?.order).toEqual(order.slice(-1));
      const after = await environment.leader();
      expect(after).not.toBe(before);
      expect((await environment.statusOf(after)).term).toBe(term + 1);

      const lines = await auditLines(environment.controlDir, 'cluster/kv');
      const who = identity();
      const id = (member: string) => `${member} (${rolloutId}-s1)`;
      const move = (member: string) => [
        `begin by quorumshift: ${id(member)}`,
        expect.stringMatching(`^cutover by quorumshift: .*${member}.*: proof of generation \\d+$`),
      ];
      const first = order.slice(0, -1);
      const places = members.map((member) => `${member} on ${member}`).join(', ');
      expect(lines.map(told)).toEqual([
        `start by ${who}: ${rolloutId}: ${places}`,
        ...first.flatMap(move),
        `transfer-leadership by quorumshift: ${before} to ${after}, in term ${term}`,
        ...move(before),
        `finalize by quorumshift: ${members.map(id).join(', ')}`,
        `end by quorumshift: ${rolloutId}: finalized`,
      ]);
      const cutovers = lines.filter(({ action }) => action === 'cutover');
      const journals = await Promise.all(order.map((member) => environment.journalOf(member)));
      const granted = journals.map((journal) => journal.find(({ decision }) => decision?.digest));
      expect(cutovers.map(({ digests }) => digests)).toEqual(
        granted.map((line) => [lines[0]?.digests[0], line?.decision?.digest]),
      );
      for (const [i, journal] of journals.entries()) {
        const proof = journal.findLast(({ info }) => info?.proof !== undefined)?.info?.proof;
        expect([proof, granted[i]?.decision?.by]).toEqual([cutovers[i]?.digests[1], who]);
        // On the record's side each is durable before its change, and here before that.
        expect(Date.parse(cutovers[i]?.at ?? '')).toBeLessThan(Date.parse(granted[i]?.at ?? ''));
      }
    },
  );

  test(
    'a member that is down, lags or stands half way, and a change of the group that is not committed, are waited for, by name, before a start or a cutover [ROLL-2] [ROLL-3] [I14]',
    {
      timeout: 400_000,
    },
    async () => {
      const { kv, client, migrations } = environment;
      const [first = '', second = '', leader = ''] = await environment.inOrder();
      const rollout = await environment.rollout({ approval: 'per-cluster', maxLagEntries: 10 });
      const { policy, contractVersion } = rollout;
      const other = rollout.members.find(({ member }) => member === second);
      if (other === undefined) throw new Error('no second member');
      const stays = { approval: 'manual', finalize: 'manual', soakSeconds: 0 } as const;
      const replica = { cluster: 'kv', member: second };
      await migrations.start({
        contractVersion,
        migrationId: 'elsewhere',
        replica,
        host: other.host,
        agentId: null,
        source: other.source,
        target: defaultFamilies().expand(environment.target(second, 'elsewhere')),
        policy: { ...policy.replica, ...stays },
        mode: null,
        standalone: null,
        requestedBy: 'test',
      });
      await environment.untilMigration(second, ({ waiting }) => waiting?.kind === 'approval');
      await client.start(rollout);
      const held = await environment.until(
        'another migration is waited for',
        ({ waiting }) => waiting?.kind === 'member' && waiting.reason.includes('elsewhere'),
      );
      expect(held.refusals).toContainEqual(
        expect.objectContaining({ kind: 'at-risk', member: second }),
      );
      expect(new Set(Object.values(stagesOf(held)))).toEqual(new Set(['pending']));
      await migrations.rollback(replica, 'test');
      await environment.until('the first waits', waitsForWord(first));
      let changed: Promise<boolean> | null = null;
      try {
        kv.signal(`${second} node`, 'SIGSTOP');
        await client.approve('kv');
        await environment.until('the member that is down', refused('unreachable', second));
        await environment.write(40);
        // Its host hangs: the node answers, and takes nothing more.
        kv.signal(`${second} host`, 'SIGSTOP');
        kv.signal(`${second} node`, 'SIGCONT');
        const lags = await environment.until('the member that lags', refused('lagging', second));
        expect(stagesOf(lags)[first]).toBe('moving');
        // Nobody but the leader can append; heartbeats go on, so it leads.
        kv.signal(`${first} host`, 'SIGSTOP');
        changed = kv.changeNothing(leader);
        await environment.until('the change', refused('change-pending', leader));
      } finally {
        kv.signal(`${second} node`, 'SIGCONT');
        for (const follower of [first, second]) kv.signal(`${follower} host`, 'SIGCONT');
      }
      expect(await changed).toBe(true);
      expect(await environment.outcome()).toBe('finalized');
      expect(leader).not.toBe(await environment.leader());
    },
  );

  test(
    'paused while a member’s probe runs, abandoned when it soaks, started again and resumed: that member goes on, too [ROLL-5] [OPS-3]',
    { timeout: 400_000 },
    async () => {
      const { kv, client } = environment;
      const [first = ''] = await environment.inOrder();
      const replica = { cluster: 'kv', member: first };
      const operationId = 'granted';
      const rollout = await environment.rollout({ approval: 'per-cluster' });
      await client.start(rollout);
      const waits = await environment.until('the first waits', waitsForWord(first));
      const proof = memberOf(waits, first)?.report?.proof;
      if (proof == null) throw new Error('no proof');
      kv.signal(`${first} node`, 'SIGSTOP');
      try {
        // As its rollout would say it, which sees that the node is away.
        await environment.temporal.workflow
          .getHandle(replicaWorkflowId(replica))
          .signal(memberOrderSignal, { order: 'approveCutover', proof, by: 'test', operationId });
        await environment.untilMigration(first, ({ phase }) => phase === 'probe');
        await client.pause('kv');
        await environment.untilMigration(first, ({ paused }) => paused);
      } finally {
        kv.signal(`${first} node`, 'SIGCONT');
      }
      await environment.until('it soaks', stage(first, 'soaking'));
      await client.abandon('kv', 'another day');
      expect((await client.result('kv')).members[first]).toBe('soaking');
      await client.start(rollout);
      // Its migration stays as its operators left it until they say otherwise.
      const stands = await environment.until(
        'it stands',
        (status) => memberOf(status, first)?.report?.waiting?.kind === 'paused',
      );
      expect(stands.actions).toContain('resume');
      await client.resume('kv');
      await client.approve('kv');
      expect(await environment.outcome()).toBe('finalized');
    },
  );

  test(
    'a member goes back by itself: the cluster stops; it is tried again, then all are rolled back, the newest first [ROLL-6] [OPS-3]',
    {
      timeout: 400_000,
    },
    async () => {
      const { client, migrations } = environment;
      const [first = '', second = '', leader = ''] = await environment.inOrder();
      const rollout = await environment.rollout({
        approval: 'per-cluster',
        soakSeconds: 3600,
        finalize: 'manual',
      });
      const { rolloutId } = rollout;
      const before = (await auditLines(environment.controlDir, 'cluster/kv')).length;
      await client.start(rollout);
      const waiting = await environment.until('the first waits', waitsForWord(first));
      expect(waiting.waiting?.kind).toBe('approval');
      const replica = { cluster: 'kv', member: first };
      const proof = memberOf(waiting, first)?.report?.proof;
      await expect(
        migrations.approve(replica, proof ?? { digest: '', generation: 0 }),
      ).rejects.toMatchObject({ code: 'migration.coordinated' });
      await migrations.rollback(replica, 'too early');
      const stopped = await environment.until(
        'the cluster has stopped',
        (status) =>
          status.stage === 'failed' &&
          status.members.some(({ report }) => report?.outcome === 'rolled-back'),
      );
      expect(stopped.waiting).toMatchObject({
        kind: 'stopped',
        reason: expect.stringMatching(`${first}: it roll(s|ed) back: too early`),
      });
      expect(stopped.actions).toEqual(expect.arrayContaining(['resume', 'skip', 'abandon']));
      await client.resume('kv');
      await environment.until('the first waits again', waitsForWord(first));
      await client.approve('kv');
      await environment.until('all soak', ({ stage }) => stage === 'soaking');
      const { status } = await client.status('kv');
      const ids = status?.members.map(({ member, migrationId }) => [member, migrationId]);
      expect(Object.fromEntries(ids ?? [])).toEqual({
        [first]: `${rolloutId}-s2`,
        [second]: `${rolloutId}-s1`,
        [leader]: `${rolloutId}-s1`,
      });
      await expect(client.skip('kv', first)).rejects.toMatchObject({
        code: 'rollout.illegal-action',
      });
      await client.rollback('kv', { member: null, reason: 'changed our minds' });
      await environment.until('all are back', ({ outcome }) => outcome !== null);
      expect(await client.result('kv')).toMatchObject({
        outcome: 'rolled-back',
        reason: 'changed our minds',
      });
      const lines = await auditLines(environment.controlDir, 'cluster/kv');
      const actions = lines.slice(before).filter(({ action }) => action !== 'transfer-leadership');
      expect(actions.map(told)).toEqual([
        expect.stringMatching(`^start by test: ${rolloutId}: `),
        `begin by quorumshift: ${first} (${rolloutId}-s1)`,
        expect.stringMatching(`^stop by quorumshift: ${first} .*: it roll(s|ed) back: too early$`),
        'resume by test: ',
        `begin by quorumshift: ${first} (${rolloutId}-s2)`,
        'approve by test: ',
        expect.stringMatching(`^cutover by quorumshift: ${first} \\(${rolloutId}-s2\\)`),
        ...[second, leader].flatMap((member) => [
          `begin by quorumshift: ${member} (${rolloutId}-s1)`,
          expect.stringMatching(`^cutover by quorumshift: ${member} `),
        ]),
        'rollback by test: changed our minds',
        ...[`${leader} (${rolloutId}-s1)`, `${second} (${rolloutId}-s1)`].map(
          (member) => `take-back by test: ${member}: changed our minds`,
        ),
        `take-back by test: ${first} (${rolloutId}-s2): changed our minds`,
        `end by quorumshift: ${rolloutId}: rolled-back: changed our minds`,
      ]);
      for (const { member, source } of rollout.members) {
        expect((await environment.primaryOf(member))?.log).toBe(source.log);
      }
    },
  );

  test(
    'one member is rolled back, one left out, and the mixed state abandoned: started again it goes on, until its deadline [ROLL-5] [ROLL-6] [OPS-3]',
    { timeout: 400_000 },
    async () => {
      const { client, migrations } = environment;
      const [first = '', second = '', leader = ''] = await environment.inOrder();
      const rollout = await environment.rollout({ soakSeconds: 3600, finalize: 'manual' });
      const before = (await auditLines(environment.controlDir, 'cluster/kv')).length;
      await client.start(rollout);
      await environment.until('the first soaks', stage(first, 'soaking'));
      await client.pause('kv');
      await client.rollback('kv', { member: first, reason: 'one' });
      await environment.until('the first is back', stage(first, 'rolled-back'));
      await client.skip('kv', first);
      await client.resume('kv');
      const idOf = (status: ClusterStatus, of: string) => memberOf(status, of)?.migrationId;
      const mixed = await environment.until('the second soaks', stage(second, 'soaking'));
      await client.pause('kv');
      await client.abandon('kv', 'another day');
      expect(await client.result('kv')).toMatchObject({
        outcome: 'abandoned',
        members: { [first]: 'skipped', [second]: 'soaking' },
      });
      const replica = { cluster: 'kv', member: second };
      expect((await migrations.status(replica)).run).toBe('running');
      // The same, but for who asks.
      expect(await client.start({ ...rollout, requestedBy: 'another' })).toMatchObject({
        fresh: true,
      });
      // The last one may have begun before the pause.
      await client.resume('kv');
      const all = await environment.until('all soak', ({ stage: is }) => is === 'soaking');
      expect(idOf(all, first)).toBe(`${rollout.rolloutId}-s2`);
      // The very migration that went on without its rollout.
      expect(idOf(all, second)).toBe(idOf(mixed, second));
      await client.complete('kv');
      expect(await environment.outcome()).toBe('finalized');
      expect(stagesOf(all)[leader]).toBe('soaking');

      const late = await environment.rollout({ approval: 'per-cluster', deadlineSeconds: 40 });
      await client.start(late);
      const [next = ''] = (
        await environment.until('one waits', ({ members }) =>
          members.some(({ report }) => report?.waiting?.kind === 'approval'),
        )
      ).order;
      expect(await environment.outcome()).toBe('rolled-back');
      const { status } = await client.status('kv');
      expect(status?.members.map(({ stage: is }) => is)).toEqual(['skipped', 'skipped', 'skipped']);
      expect((await environment.primaryOf(next))?.log).toBe(
        environment.target(next, rollout.rolloutId),
      );

      const lines = (await auditLines(environment.controlDir, 'cluster/kv')).slice(before);
      const asked = lines.filter(({ by }) => by !== 'quorumshift').map(told);
      expect(asked).toEqual([
        expect.stringContaining(`start by test: ${rollout.rolloutId}: `),
        'pause by test: ',
        `rollback by test: ${first}: one`,
        `take-back by test: ${first} (${rollout.rolloutId}-s1): one`,
        `skip by test: ${first}`,
        'resume by test: ',
        'pause by test: ',
        'abandon by test: another day',
        expect.stringContaining(`start by another: ${rollout.rolloutId}: `),
        'resume by test: ',
        'complete by test: ',
        expect.stringContaining(`start by test: ${late.rolloutId}: `),
      ]);
      const begun = lines.filter(({ action }) => action === 'begin').map(({ reason }) => reason);
      // Where the second had begun already it stood back for the first one's way back.
      const again = idOf(mixed, second)?.endsWith('-s2') ? [first, second] : [first];
      const ids = [first, second, leader].map((member) => `${member} (${rollout.rolloutId}-s1)`);
      ids.push(...again.map((member) => `${member} (${rollout.rolloutId}-s2)`));
      // Not again by the run that goes on.
      expect(begun.toSorted()).toEqual([...ids, `${next} (${late.rolloutId}-s1)`].toSorted());
      const why = 'the rollout’s deadline has passed';
      const rest = [first, second, leader].filter((member) => member !== next).toSorted();
      expect(lines.slice(-3).map(told)).toEqual([
        `take-back by quorumshift: ${next} (${late.rolloutId}-s1): ${why}`,
        `leave-out by quorumshift: ${rest.join(', ')}: its deadline has passed`,
        `end by quorumshift: ${late.rolloutId}: rolled-back`,
      ]);
    },
  );

  test(
    'terminated with a member in each state, and everything killed at once: started again with its id it goes on [OPS-1] [OPS-6]',
    {
      timeout: 400_000,
    },
    async () => {
      const { kv, client, members } = environment;
      const [first = '', second = ''] = await environment.inOrder();
      const writer = new KvWriter(kv, 'killed');
      const rollout = await environment.rollout({ soakSeconds: 3600, finalize: 'manual' });
      await client.start(rollout);
      await environment.until('the first soaks', stage(first, 'soaking'));
      await environment.until('the second moves', stage(second, 'moving'));
      await environment.temporal.workflow.getHandle(clusterWorkflowId('kv')).terminate('test');
      const names = ['control', ...members];
      await Promise.all(names.map((name) => environment.kill(name)));
      await Promise.all(members.map((member) => kv.kill(`${member} host`)));
      await Promise.all(names.map((name) => environment.run(name)));
      expect(await client.start(rollout)).toMatchObject({ fresh: true });
      await environment.until('all soak', ({ stage: is }) => is === 'soaking', 120_000);
      const { status } = await client.status('kv');
      expect(status?.members.map(({ migrationId }) => migrationId)).toEqual(
        members.map(() => `${rollout.rolloutId}-s1`),
      );
      await client.complete('kv');
      expect(await environment.outcome()).toBe('finalized');
      await writer.stop();
      await hasAll(kv, writer.acknowledged);
      expect(await client.start(rollout)).toMatchObject({ fresh: false });
      const lines = await auditLines(environment.controlDir, 'cluster/kv');
      const granted = lines.filter(
        ({ action, reason }) => action === 'cutover' && reason.includes(rollout.rolloutId),
      );
      expect(granted).toHaveLength(members.length);
      expect(new Set(granted.map(({ reason }) => reason.split(' ')[0]))).toEqual(new Set(members));
    },
  );
});
