import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { auditLines, told } from '../setup/audit-lines.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import type { ClusterStatus } from '../../workflows/rollout-messages.ts';
import { FleetEnvironment, storeless } from './fleet-environment.ts';

const away = 'the control plane’s store is waited for: it does not answer';

describe.skipIf(missing('temporal'))('the audit trail of a cluster’s rollout', () => {
  let environment: FleetEnvironment;

  beforeAll(async () => {
    environment = await FleetEnvironment.create({ machines: 3, clusters: ['kv'] });
    await environment.run([...environment.machines, storeless]);
  }, 120_000);

  afterAll(async () => environment.close());

  const until = (what: string, holds: (status: ClusterStatus) => boolean) => {
    let seen: ClusterStatus | null = null;
    return eventually(
      what,
      async () => {
        ({ status: seen } = await environment.clusters.status('kv'));
        return seen !== null && holds(seen) ? seen : null;
      },
      90_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${JSON.stringify(seen)}\n${environment.log}`, {
        cause: error,
      });
    });
  };

  const lines = () => auditLines(environment.controlDir, 'cluster/kv');

  test(
    'while the store is away nothing begins, by name; a pause and a way back hold all the same; killed with lines pending none is lost, none twice [OPS-4] [OPS-3] [I18]',
    { timeout: 300_000 },
    async () => {
      const { clusters: client } = environment;
      const files = await environment.files({ approval: 'per-cluster', finalize: 'manual' });
      await environment.cli('cluster', 'start', 'kv', ...files, '--id', 'r1');
      const waiting = await until('it waits for the store', (status) => {
        return status.waiting?.reason === away;
      });
      expect(waiting.waiting).toMatchObject({
        kind: 'host-unreachable',
        remedy: 'start "quorumshift control --config"',
      });
      expect(new Set(waiting.members.map(({ stage }) => stage))).toEqual(new Set(['pending']));
      await client.approve('kv');
      await client.pause('kv');
      const paused = await until('it is paused', (status) => status.waiting?.kind === 'paused');
      expect(paused.waiting?.reason).toBe(`an operator paused it; ${away}`);
      expect(paused.actions).toContain('approve');
      // A pause that comes after it counts more, however late its line is.
      await client.resume('kv');
      await client.pause('kv');
      await environment.kill(storeless);
      await environment.run(['control']);
      await until('the lines are written', ({ waiting: why }) => {
        return why?.kind === 'paused' && !why.reason.includes(away);
      });
      const first = await lines();
      const { requestedBy } = waiting.rollout;
      expect(first.map(told)).toEqual([
        `start by ${requestedBy}: r1: n1 on m1, n2 on m2, n3 on m3`,
        'begin by quorumshift: n2 (r1-s1)',
        'approve by test: ',
        'pause by test: ',
        'resume by test: ',
        'pause by test: ',
      ]);
      expect(first[0]?.reason).toContain(JSON.stringify(waiting.rollout.policy.waves));

      await client.resume('kv');
      for (const member of ['n2', 'n3', 'n1']) {
        await until(`${member} moves`, (status) =>
          status.members.some((one) => one.member === member && one.stage === 'moving'),
        );
        await environment.kill('control');
        await environment.run(['control']);
      }
      await until('all soak', ({ waiting: why }) => why?.kind === 'finalize');
      const forward = (await lines()).slice(first.length);
      const proofs: Record<string, string> = {};
      for (const member of ['n1', 'n2', 'n3']) {
        const record = await environment.storeOf('kv', member).read();
        proofs[member] = record?.migration?.proof?.digest ?? '';
      }
      const moved = (member: string) => [
        `stop-member by quorumshift: ${member} (r1-s1)`,
        expect.stringMatching(
          `^cutover by quorumshift: ${member} \\(r1-s1\\): proof of generation`,
        ),
      ];
      expect(forward.map(told)).toEqual([
        'resume by test: ',
        ...moved('n2'),
        'begin by quorumshift: n3 (r1-s1)',
        ...moved('n3'),
        expect.stringMatching(/^transfer-leadership by quorumshift: n1 to n[23], in term 3$/),
        'begin by quorumshift: n1 (r1-s1)',
        ...moved('n1'),
      ]);
      const cutovers = forward.filter(({ action }) => action === 'cutover');
      expect(cutovers.map(({ digests }) => digests)).toEqual(
        ['n2', 'n3', 'n1'].map((member) => [first[0]?.digests[0], proofs[member]]),
      );

      await environment.kill('control');
      await environment.run([storeless]);
      await client.rollback('kv', { member: null, reason: 'changed our minds' });
      const back = await until('all are back, and the end is not on record', (status) => {
        return (
          status.members.every(({ stage }) => stage === 'rolled-back') &&
          status.waiting?.reason === away
        );
      });
      expect(back.outcome).toBe(null);
      expect(await environment.primaries('kv')).toEqual(environment.sources('kv'));
      await expect(client.pause('kv')).rejects.toMatchObject({ code: 'rollout.illegal-action' });
      await environment.kill(storeless);
      await environment.run(['control']);
      expect(await client.result('kv')).toMatchObject({ outcome: 'rolled-back' });
      const why = 'changed our minds';
      const all = await lines();
      expect(all.slice(first.length + forward.length).map(told)).toEqual([
        `rollback by test: ${why}`,
        `take-back by test: n1 (r1-s1): ${why}`,
        expect.stringMatching(/^(transfer-leadership by quorumshift|take-back by test)/),
        ...['n3', 'n2'].map((member) => `take-back by test: ${member} (r1-s1): ${why}`),
        `end by quorumshift: r1: rolled-back: ${why}`,
      ]);
      expect(new Set(all.map(({ digests }) => digests[0]))).toHaveProperty('size', 1);
      // Another run of the rollout writes its own start, and nothing of before again.
      expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    },
  );
});
