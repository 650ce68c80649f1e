/** A replica for each phase of a migration, forward and back, to be held there all at once. */
import type { Phase } from '../../core/phases.ts';
import { holdPhase, type PhaseHold } from './hold-phase.ts';
import { KillableFleet } from './killable-fleet.ts';
import { MigratingReplica, type RunningMigration } from './migrating-replica.ts';
import { forwardPhases, rollbackPhases } from './walk-phases.ts';

/** An agent works on so many replicas at once; each held one needs a slot. */
const replicasOfMachine = 4;

export interface PhaseSubject {
  readonly replica: MigratingReplica;
  readonly phase: Phase;
  /** Whether the phase is one of the rollback's. */
  readonly back: boolean;
}

export interface HeldSubject {
  readonly subject: PhaseSubject;
  readonly running: RunningMigration;
  readonly hold: PhaseHold;
}

export async function startSubjects(
  bin: string,
): Promise<{ fleet: KillableFleet; subjects: readonly PhaseSubject[] }> {
  const wanted = [
    ...forwardPhases.map((phase) => ({ phase, back: false })),
    ...rollbackPhases.map((phase) => ({ phase, back: true })),
  ];
  const fleet = await KillableFleet.start({
    bin,
    machines: Math.ceil(wanted.length / replicasOfMachine),
  });
  const subjects: PhaseSubject[] = [];
  for (const [i, { phase, back }] of wanted.entries()) {
    const machine = fleet.machine(Math.floor(i / replicasOfMachine));
    subjects.push({ replica: await MigratingReplica.create(machine, `n${i}`), phase, back });
  }
  return { fleet, subjects };
}

/** Migrations until one is caught in the phase: one may slip through while the machine is busy. */
export async function holdSubject(subject: PhaseSubject): Promise<HeldSubject> {
  const { replica, phase, back } = subject;
  for (;;) {
    const running = await replica.begin({ finalize: back ? 'manual' : 'auto' });
    const { migrationId } = running.input;
    const caught = holdPhase(replica.store, { migrationId, phase });
    const [hold] = await Promise.all([caught, back ? replica.rollBackFromSoak() : null]);
    if (hold !== null) return { subject, running, hold };
    await endSubject({ subject, running });
  }
}

/** Waits for the end and checks it. */
export async function endSubject(one: Pick<HeldSubject, 'subject' | 'running'>): Promise<void> {
  const { subject, running } = one;
  await subject.replica.end(running, subject.back ? 'rolled-back' : 'finalized');
}
