/**
 * Migrates a cluster, member by member. The members' migrations are workflows of their own, which
 * outlive this one; their machines' records say what has been done. So a run that comes after one
 * that was terminated finds its members again, and goes on.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  patched,
  workflowInfo,
} from '@temporalio/workflow';

import { keepShown } from './attributes.ts';
import { ClusterCalls } from './cluster-calls.ts';
import { ClusterOperations } from './cluster-operations.ts';
import { reportToFleet } from './cluster-reports.ts';
import { ClusterState } from './cluster-state.ts';
import { waitingOf } from './cluster-status.ts';
import { ClusterTrail } from './cluster-trail.ts';
import { ClusterWaits } from './cluster-waits.ts';
import { GroupGuard } from './group-guard.ts';
import { MemberTurns } from './member-turns.ts';
import { MembersBack } from './members-back.ts';
import { MembersSoak } from './members-soak.ts';
import { memberAttemptOf } from './member-input.ts';
import { planMember } from './plan-cluster.ts';
import type {
  MigrateClusterRequest,
  MigrateClusterResult,
  RolloutOutcome,
} from './rollout-messages.ts';
import { silenceMs, type RolloutParts } from './rollout-parts.ts';
import { storeCalls } from './store-calls.ts';
import { beginAnew, isOpen, trackedMember, type TrackedMember } from './tracked-members.ts';

export async function migrateCluster(
  request: MigrateClusterRequest,
): Promise<MigrateClusterResult> {
  const state = new ClusterState(request);
  const waits = new ClusterWaits(state);
  const trail = new ClusterTrail(state, waits);
  const operations = new ClusterOperations(state, trail);
  operations.register();
  CancellationScope.current().cancelRequested.catch(() => operations.cancel());
  return CancellationScope.nonCancellable(async () => {
    const calls = new ClusterCalls(state, request.searchAttributes ?? []);
    const parts = { state, calls, waits, trail };
    const result = await new ClusterMigration(request, parts).run();
    await condition(allHandlersFinished);
    return result;
  });
}

class ClusterMigration {
  readonly #request: MigrateClusterRequest;
  readonly #state: ClusterState;
  readonly #calls: ClusterCalls;
  readonly #waits: ClusterWaits;
  readonly #trail: ClusterTrail;
  readonly #guard: GroupGuard;
  readonly #back: MembersBack;
  readonly #turns: MemberTurns;
  readonly #soak: MembersSoak;

  constructor(request: MigrateClusterRequest, parts: RolloutParts) {
    this.#request = request;
    this.#state = parts.state;
    this.#calls = parts.calls;
    this.#waits = parts.waits;
    this.#trail = parts.trail;
    this.#guard = new GroupGuard(parts);
    this.#back = new MembersBack(parts, this.#guard);
    this.#turns = new MemberTurns(parts, this.#guard, this.#back);
    this.#soak = new MembersSoak(parts);
  }

  async run(): Promise<MigrateClusterResult> {
    const state = this.#state;
    state.take(await this.#readRollout());
    if (state.isFirstRun) this.#trail.begin(this.#request);
    state.hearEarly();
    for (let isFound = false; ; isFound = true) {
      const outcome = await this.#whileShown(async () => {
        if (!isFound) await this.#findMembers();
        const came = await this.#drive();
        if (came !== 'handed-on') await this.#end(came);
        return came;
      });
      if (outcome !== 'handed-on') {
        const members = state.members.map(({ spec, stage }) => [spec.member, stage] as const);
        return { outcome, reason: state.endReason, members: Object.fromEntries(members) };
      }
      // What came while the last reports were on their way. Histories of before lose it.
      if (this.#isQuiet || !patched('settled-last')) return this.#handOn();
    }
  }

  /** Its lines are written, its fleet is told, and attributes show how it stands. */
  async #whileShown<Result>(work: () => Promise<Result>): Promise<Result> {
    const state = this.#state;
    let isOver = false;
    const written = this.#trail.write(() => isOver);
    const reports = reportToFleet(state, () => isOver);
    const shown = this.#keepShown(() => isOver);
    try {
      return await work();
    } finally {
      isOver = true;
      state.version += 1;
      await written;
      await reports;
      await shown;
    }
  }

  /** The last that a run does: what has been wished up to now is the next one's. */
  async #handOn(): Promise<never> {
    await condition(allHandlersFinished);
    return continueAsNew<typeof migrateCluster>({
      ...this.#request,
      rollout: { kind: 'given', input: this.#state.rollout },
      coordinator: this.#state.coordinator,
      carried: this.#state.carried(),
    });
  }

  /** Nothing is left to be passed on or written down, which the next run would not know of. */
  get #isQuiet(): boolean {
    return this.#calls.isPassedOn && this.#trail.isWritten;
  }

  /** It has ended once that is on record. */
  async #end(outcome: RolloutOutcome): Promise<void> {
    const state = this.#state;
    const reason = state.abandonWish?.reason ?? state.takeBackWish?.reason ?? null;
    state.isOver = true;
    state.waiting = null;
    this.#trail.end(outcome, reason);
    await condition(() => this.#trail.isWritten);
    state.endReason = reason;
    state.outcome = outcome;
    state.stage = 'ended';
  }

  async #keepShown(isOver: () => boolean): Promise<void> {
    // Histories of before have no such commands.
    if (!patched('state-as-attribute')) return;
    const state = this.#state;
    const values = () => {
      const waiting = waitingOf(state);
      return { QuorumshiftState: waiting === null ? state.stage : `waiting-${waiting.kind}` };
    };
    await keepShown(this.#request.searchAttributes, values, isOver);
  }

  async #readRollout() {
    const { rollout } = this.#request;
    if (rollout.kind === 'given') return rollout.input;
    const { snapshot, cluster, rolloutId } = rollout;
    const read = await storeCalls().readClusterRollout({ snapshot, cluster });
    return rolloutId === undefined ? read : { ...read, rolloutId };
  }

  /** Of a run before: those that are open report again, those that records name are adopted. */
  async #findMembers(): Promise<void> {
    const state = this.#state;
    if (state.isFirstRun) await this.#adoptRecords();
    await this.#calls.attachOpen();
    state.found();
  }

  /**
   * A rollout of this id has moved members before: its migrations are started again, and say how
   * they stand or what they came to.
   */
  async #adoptRecords(): Promise<void> {
    const state = this.#state;
    const look = await this.#untilAnswered();
    for (const { member: name, binding } of look?.members ?? []) {
      const member = state.named(name);
      const migrationId = binding?.migrationId ?? binding?.lastEnded ?? null;
      const earlier = memberAttemptOf(migrationId, state.rollout.rolloutId);
      // What has reported meanwhile is further than its record.
      if (member === undefined || earlier === null || member.report !== null) continue;
      const mode = binding?.migrationId == null ? null : (binding.mode ?? null);
      Object.assign(member, earlier, { migrationId, mode, stage: 'moving' });
    }
    const asked: TrackedMember[] = [];
    // Of one that has ended the second report says what it came to.
    const isEnded = ({ spec, migrationId }: TrackedMember) => {
      const binding = look?.members.find(({ member }) => member === spec.member)?.binding;
      return binding?.migrationId === null && binding.lastEnded === migrationId;
    };
    const isSaid = (member: TrackedMember) =>
      member.isHeard && !(member.migrationId !== null && isEnded(member) && isOpen(member));
    for (const member of state.members) {
      if (member.migrationId !== null) await this.#calls.attach(member);
      else if (!(await this.#calls.ask(member))) continue;
      asked.push(member);
    }
    while (!asked.every(isSaid) && state.abandonWish === null) {
      const reason = 'the migrations of before have not reported yet';
      const waiting = { kind: 'member', reason, remedy: 'wait' } as const;
      const heard = await this.#waits.forNews(waiting, silenceMs);
      for (const member of asked.filter((one) => !isSaid(one))) {
        if (heard && !member.isLost) continue;
        member.isLost = false;
        if (member.migrationId !== null) await this.#calls.attach(member);
        // Of one that is none of ours, and has ended meanwhile, nothing is to be heard.
        else member.isHeard = !(await this.#calls.ask(member));
      }
    }
    for (const member of asked) if (isOpen(member)) await this.#calls.attach(member);
    // What went back is tried anew: that is what starting again means.
    for (const member of asked) {
      if (member.stage === 'rolled-back' || member.report?.outcome === 'rolled-back') {
        beginAnew(member);
      }
    }
    if (state.members.some(({ step }) => step === 'binary')) this.#beginSecondStep();
  }

  /** Null when it is to be abandoned instead. */
  async #untilAnswered() {
    const state = this.#state;
    for (;;) {
      const look = await this.#calls.look();
      const away = look.members.filter(({ isAway }) => isAway);
      if (away.length === 0) return look;
      if (state.abandonWish !== null) return null;
      const reason = away.map(({ member, problem }) => `${member}: ${problem ?? ''}`).join('; ');
      const remedy = 'start the agents of these machines';
      await this.#waits.toLookAgain({ kind: 'host-unreachable', reason, remedy });
    }
  }

  async #drive(): Promise<RolloutOutcome | 'handed-on'> {
    const state = this.#state;
    for (;;) {
      if (state.abandonWish !== null) {
        for (const member of state.members.filter(isOpen)) await this.#calls.release(member);
        return 'abandoned';
      }
      const outcome = this.#outcome();
      if (outcome !== null) return outcome;
      this.#waits.begin();
      await this.#calls.passOn();
      await this.#turn();
      if (workflowInfo().continueAsNewSuggested && this.#isQuiet) return 'handed-on';
    }
  }

  /** One decision, or one wait; the first rule that applies. */
  async #turn(): Promise<void> {
    const state = this.#state;
    // One that has ended meanwhile could not be told either.
    const lost = state.members.find(
      (member) => member.isLost && (isOpen(member) || !patched('gone-is-lost')),
    );
    if (lost !== undefined) return this.#adoptLost(lost);
    if (state.takeBack.length > 0) return this.#back.takeBack();
    if (state.completeWish) return this.#soak.complete();
    if (this.#back.retry()) return;
    if (state.waitsForSlot) return this.#untilSlot();
    const [moving] = state.of('moving');
    // Of a run before: it was checked before it began. Histories of before hold it up.
    const goesOn = moving !== undefined && !state.isChecked && patched('moving-goes-on');
    if (!state.isChecked && !goesOn) return this.#preflight();
    if (state.undecided.length > 0) return this.#back.stop();
    if (moving !== undefined) return this.#turns.accompany(moving);
    if (state.paused) {
      const reason = 'an operator paused it';
      await this.#waits.forNews({ kind: 'paused', reason, remedy: 'resume' });
    } else if (state.of('pending').length > 0) await this.#turns.begin();
    else await this.#soak.soak();
  }

  async #adoptLost(member: TrackedMember): Promise<void> {
    member.isLost = false;
    await this.#calls.attach(member);
  }

  /** What begins anew takes a slot of its fleet again, or an operator's word. */
  async #untilSlot(): Promise<void> {
    const state = this.#state;
    state.stage = 'preflight';
    const reason = 'its second step waits for a slot of its fleet';
    const remedy = 'wait; where its fleet is over, or left it out: "cluster resume"';
    await this.#waits.forNews({ kind: 'slot', reason, remedy });
  }

  async #preflight(): Promise<void> {
    const state = this.#state;
    state.stage = 'preflight';
    // What is wished while the machines are asked counts, too. Histories of before lose it.
    const hearsAll = patched('wishes-in-preflight');
    const atStart = this.#chosen(hearsAll);
    if (await this.#waitsForOthers()) return;
    const plans = await Promise.all(state.of('pending').map((member) => this.#check(member)));
    const problems = plans.flatMap((plan) => plan.problems);
    const isAway = plans.every((plan) => plan.isAway || plan.problems.length === 0);
    state.isChecked = problems.length === 0;
    if (state.isChecked) return;
    const hasBegun = state.members.some(({ stage }) => stage !== 'pending');
    const what = hasBegun ? 'no other member begins' : 'nothing has begun';
    const reason = `${what}: ${problems.join('; ')}`;
    if (isAway) {
      const remedy = 'start the agents, or the storage hosts, of these machines';
      return this.#waits.toLookAgain({ kind: 'host-unreachable', reason, remedy });
    }
    const remedy = 'mend what is named, then resume: it is checked again';
    const before = hearsAll ? atStart : this.#chosen(false);
    while (this.#chosen(hearsAll) === before) {
      await this.#waits.forNews({ kind: 'failed', reason, remedy });
    }
  }

  /** What ends the wait of a preflight that was refused. */
  #chosen(hearsAll: boolean): string {
    const { retryVersion, abandonWish, takeBack, completeWish, paused, bytesPerSecond } =
      this.#state;
    const pending = this.#state.of('pending').length;
    const lost = this.#state.members.filter((member) => member.isLost && isOpen(member)).length;
    const more = hearsAll && [takeBack, completeWish, paused, bytesPerSecond, lost];
    return JSON.stringify([retryVersion, abandonWish, pending, more]);
  }

  /** Members that other migrations own are waited for: true while there are any. */
  async #waitsForOthers(): Promise<boolean> {
    const state = this.#state;
    const look = await this.#calls.look();
    this.#guard.judge(look);
    const others = look.members.flatMap(({ member, binding }) => {
      const { migrationId = null, phase = null } = binding ?? {};
      const isPending = state.named(member)?.stage === 'pending';
      const isOurs = memberAttemptOf(migrationId, state.rollout.rolloutId) !== null;
      if (!isPending || migrationId === null || isOurs) return [];
      return [`migration ${migrationId} owns ${member}, in phase ${phase ?? 'ended'}`];
    });
    if (others.length === 0) return false;
    const remedy = 'wait until it has ended; complete it, or roll it back';
    await this.#waits.toLookAgain({ kind: 'member', reason: others.join('; '), remedy });
    return true;
  }

  /** Before anything changes: it is reached, its state read, every check made (ROLL-2). */
  async #check(member: TrackedMember) {
    const { spec } = member;
    const plan = await planMember(this.#state.rollout, spec.member, member);
    const { findings, size, problem, isAway } = plan;
    member.size = size;
    const failed = findings.filter(({ ok }) => !ok);
    const found = failed.map(({ check, measured, remedy }) => `${check}: ${measured} (${remedy})`);
    const all = problem === null ? found : [problem, ...found];
    return { problems: all.map((text) => `${spec.member}: ${text}`), isAway };
  }

  /** Null while a member may still move; a staged rollout begins its second step here. */
  #outcome(): RolloutOutcome | null {
    const state = this.#state;
    const isEnded = ({ stage }: TrackedMember) =>
      ['finalized', 'skipped', 'rolled-back'].includes(stage);
    if (state.takeBack.length > 0 || !state.members.every(isEnded)) return null;
    const { shape } = state.rollout.policy;
    if (shape === 'staged' && this.#beginSecondStep()) {
      state.isChecked = false;
      // Histories of before hold no such wait.
      state.needsSlot = patched('second-step-slot');
      return null;
    }
    const finalized = state.of('finalized');
    if (finalized.length === state.members.length) return 'finalized';
    // Whoever has come to the second step has its storage moved for good.
    const isMovedInPart = shape === 'staged' && !state.members.every(isOfStorage);
    return finalized.length > 0 || isMovedInPart ? 'partly' : 'rolled-back';
  }

  /** Of members whose storage has been moved for good the programs are next; false: of none. */
  #beginSecondStep(): boolean {
    const done = this.#state.of('finalized').filter(isOfStorage);
    for (const member of done) Object.assign(member, trackedMember(member.spec, 'binary'));
    return done.length > 0;
  }
}

function isOfStorage({ step }: TrackedMember): boolean {
  return step === 'storage';
}
