import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { Phase } from '../../core/phases.ts';
import { missing } from '../setup/toolchain.ts';
import { holdPhase, type PhaseHold } from '../soak/hold-phase.ts';
import { KillableFleet, type Victim } from '../soak/killable-fleet.ts';
import { MigratingReplica, type RunningMigration } from '../soak/migrating-replica.ts';
import { forwardPhases, rollbackPhases } from '../soak/walk-phases.ts';

/** An agent works on so many replicas at once; each held one needs a slot. */
const replicasOfMachine = 4;

interface Subject {
  readonly replica: MigratingReplica;
  readonly phase: Phase;
  readonly back: boolean;
}

interface Held {
  readonly subject: Subject;
  readonly running: RunningMigration;
  readonly hold: PhaseHold;
}

describe.skipIf(missing('temporal'))('kill -9 at every phase boundary', () => {
  const wanted = [
    ...forwardPhases.map((phase) => ({ phase, back: false })),
    ...rollbackPhases.map((phase) => ({ phase, back: true })),
  ];
  let fleet: KillableFleet;
  let subjects: readonly Subject[];

  beforeAll(async () => {
    const machines = Math.ceil(wanted.length / replicasOfMachine);
    const bin = process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '';
    fleet = await KillableFleet.start({ bin, machines });
    subjects = await Promise.all(
      wanted.map(async ({ phase, back }, i) => {
        const machine = fleet.machines[i % machines];
        expect(machine).toBeDefined();
        if (machine === undefined) throw new Error('no machine');
        return { replica: await MigratingReplica.create(machine, `n${i}`), phase, back };
      }),
    );
  });

  afterAll(() => fleet?.close());

  test.each(['control', 'server', 'agent'] as const)(
    'of the %s, with a replica in each phase: each ends as without [OPS-1] [CUT-5] [I9]',
    { timeout: 120_000 },
    async (who) => {
      const held = await Promise.all(subjects.map(holdInPhase));
      const victims: readonly Victim[] = who === 'agent' ? fleet.machines : [who];
      await Promise.all(victims.map((victim) => fleet.kill(victim)));
      for (const { subject, hold } of held) {
        expect((await hold.read())?.migration?.phase).toBe(subject.phase);
        await hold.release();
      }
      await Promise.all(victims.map((victim) => fleet.restart(victim)));
      await Promise.all(
        held.map(({ subject, running }) =>
          subject.replica.end(running, subject.back ? 'rolled-back' : 'finalized'),
        ),
      );
    },
  );
});

/** Migrations until one is caught in the phase: one may slip through while the machine is busy. */
async function holdInPhase(subject: Subject): Promise<Held> {
  const { replica, phase, back } = subject;
  for (;;) {
    const running = await replica.begin({ finalize: back ? 'manual' : 'auto' });
    const { migrationId } = running.input;
    const held = holdPhase(replica.store, { migrationId, phase });
    if (back) await replica.rollBackFromSoak();
    const hold = await held;
    if (hold !== null) return { subject, running, hold };
    await replica.end(running, back ? 'rolled-back' : 'finalized');
  }
}
