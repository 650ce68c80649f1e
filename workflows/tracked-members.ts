/** How a rollout sees its members: each by its newest report. Plain data, for the next run too. */
import type { MigrationMode } from '../core/phases.ts';
import type { MemberStanding } from '../core/quorum.ts';
import type { RolloutMember } from '../schemas/cluster-rollout.ts';
import type { MemberReport, MemberSize, MemberStage, MemberStatus } from './rollout-messages.ts';

export interface TrackedMember {
  readonly spec: RolloutMember;
  stage: MemberStage;
  step: 'storage' | 'binary';
  /** Its migrations so far in this step; part of their ids. */
  attempt: number;
  /** Null: none has been begun, or the next is a new one. */
  migrationId: string | null;
  report: MemberReport | null;
  /** How its record says that it is moved; null: it has not been asked. */
  mode: MigrationMode | null;
  size: MemberSize | null;
  reason: string | null;
  standing: MemberStanding | null;
  /** Counted at each verified cutover of the rollout; null: not cut over. */
  movedAs: number | null;
  /**
   * Told to roll back: `again`, to be begun anew; `out`, for good; `skip`, with nothing to decide
   * after. Null: it was not.
   */
  takenBack: 'again' | 'out' | 'skip' | null;
  /** When it was told so last; null: not yet. */
  toldBackMs: number | null;
  /** What the policy says of failures has been done for this one. */
  isHandled: boolean;
  /** An operator wants it tried again once its run has ended. */
  wantsRetry: boolean;
  /** Told to pause, and not yet to go on: in whatever stage it is when the rollout goes on. */
  isPaused: boolean;
  /** Something has reported in its name, be it another migration. */
  isHeard: boolean;
  /** Its workflow is gone: it is to be adopted. */
  isLost: boolean;
  /** The approval that was given, and when; of another proof another is needed. */
  granted: { readonly digest: string; readonly atMs: number } | null;
}

export function trackedMember(spec: RolloutMember, step: 'storage' | 'binary'): TrackedMember {
  return {
    spec,
    stage: 'pending',
    step,
    attempt: 1,
    migrationId: null,
    report: null,
    mode: null,
    size: null,
    reason: null,
    standing: null,
    movedAs: null,
    takenBack: null,
    toldBackMs: null,
    isHandled: false,
    wantsRetry: false,
    isPaused: false,
    isHeard: false,
    isLost: false,
    granted: null,
  };
}

/** Whether a migration of it may be open: what is not is no workflow to be told anything. */
export function isOpen({ migrationId, report }: TrackedMember): boolean {
  return migrationId !== null && report?.outcome == null && report?.failed !== true;
}

/** Paused by whomever: by its own operators, or by a run of the rollout before this one. */
export function isWaitingPaused({ report }: TrackedMember): boolean {
  return report?.waiting?.kind === 'paused';
}

/** Its run goes back now, and will say what it came to. */
export function isGoingBack(member: TrackedMember): boolean {
  const { report } = member;
  if (report === null || !isOpen(member)) return false;
  // Without a phase it waits for its lease before it begins.
  const isAsking = report.waiting?.kind === 'lease' && report.phase !== null;
  return report.rollingBack || isAsking;
}

/** Cut over at some time, and not gone back since. */
export function isMoved({ stage, movedAs }: TrackedMember): boolean {
  return movedAs !== null && (stage === 'soaking' || stage === 'finalized');
}

/** Takes what a migration says of itself; false: it says nothing new, or is another's. */
export function takeReport(member: TrackedMember, report: MemberReport, moved: number): boolean {
  if (report.migrationId !== member.migrationId) return false;
  if (member.report?.migrationId === report.migrationId && report.seq <= member.report.seq) {
    return false;
  }
  member.report = report;
  const failure = failureOf(member, report);
  if (failure !== null) failMember(member, failure);
  else if (report.outcome !== null) endMember(member, report);
  else if (isSoaking(report)) {
    member.stage = 'soaking';
    member.movedAs ??= moved + 1;
  } else if (member.stage === 'failed') member.stage = 'moving';
  return true;
}

export function failMember(member: TrackedMember, reason: string): void {
  const isKnown = member.stage === 'failed';
  if (!isKnown) member.isHandled = false;
  member.stage = 'failed';
  // That it went back then is what was to be.
  if (!isKnown || member.report?.outcome !== 'rolled-back') member.reason = reason;
}

/** Next time it is another migration: the one before went back. */
export function beginAnew(member: TrackedMember): void {
  if (member.migrationId !== null && member.report?.outcome === 'rolled-back') member.attempt += 1;
  const fresh = trackedMember(member.spec, member.step);
  Object.assign(member, { ...fresh, attempt: member.attempt, size: member.size });
}

function endMember(member: TrackedMember, { outcome, reason }: MemberReport): void {
  if (outcome === 'finalized') {
    member.stage = 'finalized';
    return;
  }
  member.movedAs = null;
  if (member.takenBack === 'again') return beginAnew(member);
  member.stage = member.takenBack === 'skip' ? 'skipped' : 'rolled-back';
  member.reason ??= reason;
}

const needsOperator = ['failed', 'held', 'cancelled'];

function failureOf(member: TrackedMember, report: MemberReport): string | null {
  const { outcome, waiting, reason } = report;
  const why = reason === null ? '' : `: ${reason}`;
  if (report.failed) return `its migration failed${why}`;
  if (outcome === 'abandoned' || outcome === 'superseded') return `its migration is ${outcome}`;
  if (outcome === 'rolled-back' && member.takenBack === null) return `it rolled back${why}`;
  if (outcome !== null) return null;
  if (waiting !== null && needsOperator.includes(waiting.kind)) return waiting.reason;
  const wantsBack = member.stage === 'soaking' && waiting?.kind === 'lease';
  const goesBack = report.rollingBack || wantsBack;
  return goesBack && member.takenBack === null ? `it rolls back${why}` : null;
}

function isSoaking({ phase }: MemberReport): boolean {
  return phase === 'soak' || phase === 'soak-validate' || phase === 'finalize';
}

export function memberStatus(member: TrackedMember): MemberStatus {
  const { spec, stage, step, migrationId, report, size, reason, standing } = member;
  const { member: name, host } = spec;
  return { member: name, host, stage, step, migrationId, report, size, reason, standing };
}
