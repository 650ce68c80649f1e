/** A replica for each phase of a migration, forward and back, to be held there all at once. */
import { phases, type Phase } from '../../core/phases.ts';
import { holdPhase, type PhaseHold } from './hold-phase.ts';
import { KillableFleet } from './killable-fleet.ts';
import { MigratingReplica, type RunningMigration } from './migrating-replica.ts';
import { forwardPhases, reversalPhases, rollbackPhases } from './walk-phases.ts';

/** An agent works on so many replicas at once; each held one needs a slot. */
const replicasOfMachine = 4;

export type Way = 'forward' | 'rollback' | 'reversal';

export interface PhaseSubject {
  readonly replica: MigratingReplica;
  readonly phase: Phase;
  /**
   * Which way the migration takes: to its end, back from the soak, or back with what the replica
   * has written on the target.
   */
  readonly way: Way;
}

export interface HeldSubject {
  readonly subject: PhaseSubject;
  readonly running: RunningMigration;
  readonly hold: PhaseHold;
}

export async function startSubjects(
  bin: string,
  ways: readonly Way[],
): Promise<{ fleet: KillableFleet; subjects: readonly PhaseSubject[] }> {
  const wanted = [
    ...forwardPhases.map((phase) => ({ phase, way: 'forward' as const })),
    ...rollbackPhases.map((phase) => ({ phase, way: 'rollback' as const })),
    ...reversalPhases.map((phase) => ({ phase, way: 'reversal' as const })),
  ].filter(({ way }) => ways.includes(way));
  const fleet = await KillableFleet.start({
    bin,
    machines: Math.ceil(wanted.length / replicasOfMachine),
  });
  const subjects: PhaseSubject[] = [];
  for (const [i, { phase, way }] of wanted.entries()) {
    const machine = fleet.machine(Math.floor(i / replicasOfMachine));
    subjects.push({ replica: await MigratingReplica.create(machine, `n${i}`), phase, way });
  }
  return { fleet, subjects };
}

/**
 * All of them at once. Those in a hook's phase last: an attempt waits for a replica that is held,
 * and a hook has fewer of them.
 */
export async function holdSubjects(subjects: readonly PhaseSubject[]): Promise<HeldSubject[]> {
  const isHook = ({ phase }: PhaseSubject) => phase !== 'ended' && phases[phase].kind === 'hook';
  const others = subjects.filter((subject) => !isHook(subject));
  const held = await Promise.all(others.map(holdSubject));
  return [...held, ...(await Promise.all(subjects.filter(isHook).map(holdSubject)))];
}

/** Migrations until one is caught in the phase: one may slip through while the machine is busy. */
async function holdSubject(subject: PhaseSubject): Promise<HeldSubject> {
  const { replica, phase, way } = subject;
  for (;;) {
    const begun = await replica.begin({ finalize: way === 'forward' ? 'auto' : 'manual' });
    const { migrationId } = begun.input;
    const direction = way === 'reversal' ? 'back' : 'forward';
    const caught = holdPhase(replica.store, { migrationId, phase, direction });
    const running = await goItsWay(subject, begun);
    const hold = await caught;
    if (hold !== null) return { subject, running, hold };
    await endSubject({ subject, running });
  }
}

/** What an operator and the replica do until the phase can come; the migration as it then is. */
async function goItsWay(
  { replica, way }: PhaseSubject,
  begun: RunningMigration,
): Promise<RunningMigration> {
  if (way === 'forward') return begun;
  await replica.untilSoaking();
  const running = way === 'reversal' ? await replica.writeOnTarget(begun) : begun;
  await replica.rollBack();
  return running;
}

/** Waits for the end and checks it. */
export async function endSubject(one: Pick<HeldSubject, 'subject' | 'running'>): Promise<void> {
  const { subject, running } = one;
  await subject.replica.end(running, subject.way === 'forward' ? 'finalized' : 'rolled-back');
}
