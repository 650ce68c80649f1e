import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { eventually } from '../e2e/migration-environment.ts';
import { auditLines, told } from '../setup/audit-lines.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import type { ClusterStatus } from '../../workflows/rollout-messages.ts';
import { FleetEnvironment, storeless } from './fleet-environment.ts';

const away = 'the control plane’s store is waited for: it does not answer';

describe.skipIf(missing('temporal'))('the audit trail of a cluster’s rollout', () => {
  let environment: FleetEnvironment;

  beforeAll(async () => {
    environment = await FleetEnvironment.create({ machines: 3, clusters: ['one', 'all'] });
    await environment.run([...environment.machines, storeless]);
  }, 120_000);

  afterAll(async () => environment.close());

  const start = (cluster: string) =>
    environment.startCluster(cluster, { approval: 'per-cluster' }, 'r1');

  const until: FleetEnvironment['untilCluster'] = (...of) => environment.untilCluster(...of);

  const linesOf = (cluster: string) => auditLines(environment.controlDir, `cluster/${cluster}`);

  /** kill -9 of the one, then the other. */
  const replace = async (killed: string, run: string) => {
    await environment.kill(killed);
    await environment.run([run]);
  };

  const isAway = ({ waiting }: ClusterStatus) => waiting?.reason === away;

  test(
    'while the store is away nothing begins, by name; a pause and a way back hold all the same; killed with lines pending none is lost, none twice [OPS-3] [OPS-4] [I18]',
    { timeout: 300_000 },
    async () => {
      const { clusters: client } = environment;
      await start('one');
      const { waiting, members, rollout } = await until(
        'one',
        'it waits for the store',
        (status) => isAway(status) && status.stage === 'moving',
      );
      expect(waiting).toMatchObject({
        kind: 'host-unreachable',
        remedy: 'start "quorumshift control --config"',
      });
      expect(new Set(members.map(({ stage }) => stage))).toEqual(new Set(['pending']));
      await client.pause('one');
      const paused = await until('one', 'it is paused', (status) => {
        return status.waiting?.kind === 'paused';
      });
      expect(paused.waiting?.reason).toBe(`an operator paused it; ${away}`);
      // A pause that comes after it counts more, however late its line is.
      await client.resume('one');
      await client.pause('one');
      await replace(storeless, 'control');
      const before = await eventually('the lines are written', async () => {
        const lines = await linesOf('one');
        return lines.length >= 5 ? lines : null;
      });
      expect(before.map(told)).toEqual([
        `start by ${rollout.requestedBy}: r1: n1 on m1, n2 on m2, n3 on m3`,
        'begin by quorumshift: n2 (r1-s1)',
        'pause by test: ',
        'resume by test: ',
        'pause by test: ',
      ]);
      const { waiting: why } = await until('one', 'nothing waits for the store', (status) => {
        return status.waiting?.reason.includes(away) !== true;
      });
      expect(why).toMatchObject({ kind: 'paused', reason: 'an operator paused it' });
      expect(before[0]?.reason).toContain(JSON.stringify(rollout.policy.waves));

      await client.resume('one');
      await until('one', 'a cutover waits', (status) => status.waiting?.kind === 'approval');
      await replace('control', storeless);
      await client.approve('one');
      const asked = await until('one', 'the approval is not on record', isAway);
      expect(asked.actions).toContain('approve');
      await client.rollback('one', { member: null, reason: 'changed our minds' });
      const back = await until('one', 'all are back', ({ members: all }) => {
        return all.every(({ stage }) => stage === 'rolled-back' || stage === 'skipped');
      });
      expect(back.outcome).toBe(null);
      await expect(client.pause('one')).rejects.toMatchObject({ code: 'rollout.illegal-action' });
      await environment.run(['control']);
      expect(await client.result('one')).toMatchObject({ outcome: 'rolled-back' });
      const all = await linesOf('one');
      expect(all.slice(before.length).map(told)).toEqual([
        'resume by test: ',
        'stop-member by quorumshift: n2 (r1-s1)',
        'approve by test: ',
        'rollback by test: changed our minds',
        'take-back by test: n2 (r1-s1): changed our minds',
        'end by quorumshift: r1: rolled-back: changed our minds',
      ]);
      expect(new Set(all.map(({ digests }) => digests[0])).size).toBe(1);
    },
  );

  test(
    'a fleet that is stopped while the line of a resume is not on record stays stopped [OPS-3] [I18]',
    { timeout: 120_000 },
    async () => {
      const { client } = environment;
      await environment.kill(storeless);
      await replace('control', 'control');
      const files = await environment.files({ approval: 'per-wave' });
      await environment.cli('fleet', 'start', 'f', ...files, '--clusters', 'one', '--id', 'f1');
      await client.pause('f');
      const linesWith = (action: string) =>
        eventually(`the line of ${action}`, async () => {
          const lines = await auditLines(environment.controlDir, 'fleet/f');
          return lines.some((line) => line.action === action) ? lines : null;
        });
      await Promise.all([linesWith('start'), linesWith('pause')]);
      await replace('control', storeless);
      await client.resume('f');
      await client.stop('f', 'test');
      await environment.run(['control']);
      const lines = await linesWith('stop');
      expect(lines.slice(-2).map(told)).toEqual(['resume by test: ', 'stop by test: test']);
      const { status } = await client.status('f');
      expect(status).toMatchObject({ stage: 'stopped', paused: true });
    },
  );

  test.runIf(isLong)(
    'killed with each member, and without the store while all go back: every line once, in order, with its proof [OPS-1] [OPS-4]',
    { timeout: 300_000 },
    async () => {
      const { clusters: client } = environment;
      await environment.kill(storeless);
      await replace('control', 'control');
      await start('all');
      await client.approve('all');
      for (const member of ['n2', 'n3', 'n1']) {
        await until('all', `${member} moves`, ({ members }) =>
          members.some((one) => one.member === member && one.stage === 'moving'),
        );
        await replace('control', 'control');
      }
      await until('all', 'all soak', ({ waiting }) => waiting?.kind === 'finalize');
      const forward = await linesOf('all');
      const moved = (member: string) => [
        `begin by quorumshift: ${member} (r1-s1)`,
        `stop-member by quorumshift: ${member} (r1-s1)`,
        expect.stringMatching(
          `^cutover by quorumshift: ${member} \\(r1-s1\\): proof of generation`,
        ),
      ];
      const own = forward.filter(({ by }) => by === 'quorumshift');
      expect(own.map(told)).toEqual([
        ...moved('n2'),
        ...moved('n3'),
        'transfer-leadership by quorumshift: n1 to n2, in term 3',
        ...moved('n1'),
      ]);
      expect(forward.map(({ action }) => action).filter((one) => one === 'approve')).toHaveLength(
        1,
      );
      const proofs: (string | undefined)[] = [];
      for (const member of ['n2', 'n3', 'n1']) {
        const record = await environment.storeOf('all', member).read();
        proofs.push(record?.migration?.proof?.digest);
      }
      const cutovers = own.filter(({ action }) => action === 'cutover');
      expect(cutovers.map(({ digests }) => digests[1])).toEqual(proofs);

      await replace('control', storeless);
      await client.rollback('all', { member: null, reason: 'too slow' });
      await until('all', 'all are back, and the end is not on record', (status) => {
        return isAway(status) && status.members.every(({ stage }) => stage === 'rolled-back');
      });
      expect(await environment.primaries('all')).toEqual(environment.sources('all'));
      await environment.run(['control']);
      expect(await client.result('all')).toMatchObject({ outcome: 'rolled-back' });
      expect((await linesOf('all')).slice(forward.length).map(told)).toEqual([
        'rollback by test: too slow',
        'take-back by test: n1 (r1-s1): too slow',
        'take-back by test: n3 (r1-s1): too slow',
        // It leads by then: that goes first, without the store, too.
        'transfer-leadership by quorumshift: n2 to n1, in term 3',
        'take-back by test: n2 (r1-s1): too slow',
        'end by quorumshift: r1: rolled-back: too slow',
      ]);
    },
  );
});
