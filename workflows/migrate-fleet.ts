/**
 * Migrates many clusters: wave after wave in a sliding window of children, within the slots of
 * machines and the failure budget. The order of clusters is the snapshot's, read page by page; the
 * workflow holds the place in it, and the clusters that have not ended.
 *
 * It loses nothing with its own run: clusters run by themselves, report to whichever run there is,
 * and what has ended is recorded in the store; a new start with the same rollout id goes on.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  patched,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';

import { Slots, whoBegins } from '../core/fleet-plan.ts';
import { OwnAttributes } from './attributes.ts';
import { FleetChildren } from './fleet-children.ts';
import { newMember, type FleetMember } from './fleet-clusters.ts';
import { FleetOperations } from './fleet-operations.ts';
import { FleetOrder } from './fleet-order.ts';
import { FleetRecords } from './fleet-records.ts';
import { FleetState } from './fleet-state.ts';
import { fleetStatus, fleetWaiting } from './fleet-status.ts';
import type {
  MigrateFleetRequest,
  MigrateFleetResult,
  RolloutOutcome,
} from './rollout-messages.ts';
import { tellsLess } from './less-told.ts';

/** Those under way that have not been heard from for so long are asked about; then the others. */
const silenceMs = 10 * 60_000;
const soakingSilenceMs = 60 * 60_000;

/** Clusters that were adopted report within this, or count as under way. */
const firstReportsMs = 30_000;

/** Between two looks at a cluster that another rollout has. */
const foreignMs = 30_000;

/** Waits of which somebody is told. */
const toldWaits = ['stopped', 'budget', 'wave-approval', 'failed', 'finalize'];

/** Events of one run. */
const longestRunEvents = 1_500;

export async function migrateFleet(request: MigrateFleetRequest): Promise<MigrateFleetResult> {
  const state = new FleetState(request);
  const operations = new FleetOperations(state);
  operations.register();
  // A cancel is an emergency stop: nothing is undone, an operator decides.
  CancellationScope.current().cancelRequested.catch(() => operations.cancel());
  return CancellationScope.nonCancellable(() => new FleetRollout(state).run());
}

class FleetRollout {
  readonly #state: FleetState;
  readonly #records: FleetRecords;
  readonly #order: FleetOrder;
  readonly #children: FleetChildren;
  readonly #attributes: OwnAttributes;
  #tasks = 0;
  #alarmMs = Number.POSITIVE_INFINITY;

  constructor(state: FleetState) {
    this.#state = state;
    this.#records = new FleetRecords(state);
    this.#order = new FleetOrder(state, this.#records);
    this.#children = new FleetChildren(state, this.#records);
    this.#attributes = new OwnAttributes(state.request.searchAttributes);
  }

  async run(): Promise<MigrateFleetResult> {
    const state = this.#state;
    let ended = false;
    const isOver = () => ended;
    const loops = [
      this.#children.deliver(isOver),
      this.#records.audit(isOver),
      this.#records.tell(isOver),
    ];
    await this.#open();
    const outcome = await this.#drive();
    state.outcome = outcome;
    this.#show();
    const text = `the rollout ${state.request.rolloutId} has ended: ${outcome}`;
    state.decide('end', outcome);
    state.notices.push({ kind: 'ended', text });
    await this.#settle();
    ended = true;
    await Promise.all(loops);
    await condition(allHandlersFinished);
    return { outcome, counts: state.counts(), reason: state.rollback?.reason ?? null };
  }

  /** The rollout's own beginning, and what an earlier run of it has begun. */
  async #open(): Promise<void> {
    const state = this.#state;
    const { fleet, rolloutId, snapshot, requestedBy, carried } = state.request;
    if (carried === undefined) {
      const opened = this.#records.store.openRollout({ fleet, rolloutId, snapshot });
      const { fresh, startedMs } = await this.#records.answer(opened);
      state.startedMs = startedMs;
      state.known = !fresh;
      if (fresh) state.adoptFrom = null;
      state.record({ by: requestedBy, action: 'start', reason: '' });
    }
    const adopts = state.adoptFrom !== null;
    while (state.adoptFrom !== null) await this.#adoptPage(state.adoptFrom);
    // Before anything begins: what has failed counts against the budget, what soaks has no slot.
    const heard = () => state.members('under-way').every(({ report }) => report !== null);
    if (adopts) await condition(heard, firstReportsMs);
    // What waits for its first window says so, and of how many. Histories of before read later.
    const waits = state.request.policy.windows.length > 0;
    if (waits && tellsLess()) await this.#order.candidates();
    if (carried === undefined) return;
    const open = state.members('under-way', 'failed').filter(({ absent }) => !absent);
    await this.#children.coordinate(open);
  }

  /** Clusters of this rollout that run already, whatever began them, or have ended. */
  async #adoptPage(from: number): Promise<void> {
    const state = this.#state;
    const { clusters, next } = await this.#order.page(from);
    const found = clusters.filter(({ position }) => !state.positions.has(position));
    // What was left out, or ended by another word, is none of this rollout's any more.
    const isAsked = patched('results-first');
    const left = isAsked ? await this.#order.withoutResults(found) : found;
    const running = await this.#children.running(left);
    if (!isAsked) {
      await this.#order.withoutResults(found.filter((one) => !running.includes(one)));
    }
    for (const cluster of running) state.add(newMember(state.begin(cluster)));
    const adopted = running.flatMap(({ cluster }) => state.open.get(cluster) ?? []);
    await this.#children.coordinate(adopted);
    state.adoptFrom = next;
    await this.#continueWhenLong();
  }

  async #drive(): Promise<RolloutOutcome> {
    const state = this.#state;
    for (;;) {
      const seen = state.version;
      await this.#turn();
      this.#show();
      const outcome = this.#outcome();
      if (outcome !== null) return outcome;
      await this.#continueWhenLong();
      this.#wake();
      await condition(() => state.version !== seen);
    }
  }

  /** Does whatever may be done now; each thing that changes raises the version again. */
  async #turn(): Promise<void> {
    const state = this.#state;
    this.#record();
    if (state.holds) return;
    if (state.rollback !== null) {
      this.#rollBack();
      return;
    }
    this.#completeWaves();
    if (!(await this.#mayMove())) return;
    // Meanwhile somebody may have stopped it, or turned it back.
    if (state.holds || state.rollback !== null) return;
    this.#retry();
    if (state.budgetSpent || isLong()) return;
    this.#beginSecondSteps();
    await this.#begin();
  }

  /** Within its windows, and before its deadline. */
  async #mayMove(): Promise<boolean> {
    const state = this.#state;
    const { windows } = state.request.policy;
    if (state.isLate) return false;
    if (windows.length === 0) return true;
    const { window } = state;
    if (window === null || (window.untilMs !== null && Date.now() >= window.untilMs)) {
      const atMs = Date.now();
      const answer = await this.#records.answer(this.#records.store.windowAt({ windows, atMs }));
      const changesInMs = answer.open ? answer.closesInMs : answer.opensInMs;
      state.window = {
        open: answer.open,
        untilMs: changesInMs === null ? null : atMs + changesInMs,
      };
    }
    return state.window?.open ?? false;
  }

  #slots(): Slots {
    const state = this.#state;
    const soaking = state.members('soaking', 'soaked').length;
    const underWay = state.members('under-way');
    return new Slots(state.request.policy.concurrency, { underWay, soaking });
  }

  /** What failed goes on, or is started again, as slots become free. */
  #retry(): void {
    const state = this.#state;
    const wished = state.members('failed').filter(({ retry }) => retry);
    for (const member of whoBegins(wished, this.#slots())) {
      member.retry = false;
      member.standing = 'under-way';
      if (member.absent) this.#task(() => this.#children.start(member));
      else state.tell(member, { order: 'resume' });
    }
  }

  /** What has begun goes before what has not. */
  #beginSecondSteps(): void {
    const state = this.#state;
    // It has soaked once: its wave is finalized only when all of it has done so again.
    const limits = { ...state.request.policy.concurrency, soaking: null };
    const slots = new Slots(limits, { underWay: state.members('under-way'), soaking: 0 });
    for (const member of whoBegins(state.members('between-steps'), slots)) {
      member.standing = 'under-way';
      member.slotToldMs = Date.now();
      state.tell(member, { order: 'next-step' });
    }
  }

  async #begin(): Promise<void> {
    const state = this.#state;
    for (;;) {
      const candidates = await this.#order.candidates();
      const wave = state.waves[state.wave];
      if (wave === undefined || state.approvedWaves <= state.wave || state.budgetSpent) return;
      const inWave = candidates.filter(({ position }) => position < wave.to);
      const chosen = whoBegins(inWave, this.#slots());
      if (chosen.length === 0) return;
      await this.#announceWave(state.wave);
      // Meanwhile somebody may have stopped it: it is looked at anew.
      if (state.holds || state.rollback !== null) return;
      for (const cluster of chosen) {
        const member = newMember(state.begin(cluster));
        state.add(member);
        this.#task(() => this.#children.start(member));
      }
    }
  }

  async #announceWave(number: number): Promise<void> {
    const state = this.#state;
    if (number < state.announcedWaves) return;
    state.announcedWaves = number + 1;
    const wave = state.waves[number];
    state.decide('begin-wave', wave === undefined ? '' : `${wave.name}: to ${wave.to}`);
    // Durable before what it tells of.
    await condition(() => state.decisions.length === 0);
  }

  /**
   * Where the policy says so, a wave is finalized once all of it has soaked; what failed and was
   * mended later follows it.
   */
  #completeWaves(): void {
    const state = this.#state;
    if (state.request.policy.finalize !== 'per-wave') return;
    const passed = state.waves[state.wave - 1];
    if (passed === undefined) return;
    const due = state
      .members('soaked')
      .filter(({ position, finalizes }) => position < passed.to && !finalizes);
    if (due.length === 0) return;
    state.decide('finalize-wave', `${passed.name}: ${due.length} clusters`);
    for (const member of due) {
      member.finalizes = true;
      state.tell(member, { order: 'complete' });
    }
  }

  /** In reverse order of their beginning, in the window; what stands before its turn waits. */
  #rollBack(): void {
    const state = this.#state;
    const reason = state.rollback?.reason ?? '';
    const { policy } = state.request;
    for (const member of state.members('foreign')) state.end(member, 'skipped', member.reason);
    const open = state.members('under-way', 'between-steps', 'failed', 'soaking', 'soaked');
    const going = open.filter(({ rollingBack, standing }) => rollingBack && standing !== 'failed');
    const limits = { ...policy.concurrency, soaking: null };
    const slots = new Slots(limits, { underWay: going, soaking: 0 });
    const next = open
      .filter(({ rollingBack, retry }) => !rollingBack || retry)
      .toSorted((a, b) => b.begun - a.begun);
    for (const member of whoBegins(next, slots)) {
      const before = member.standing;
      const again = member.rollingBack;
      // A run that is started anew knows of no way back. Histories of before do not say so.
      const isAnew = member.absent && again;
      member.rollingBack = true;
      member.retry = false;
      member.counts = false;
      member.standing = 'under-way';
      if (member.absent) this.#task(() => this.#children.start(member));
      if (!again || (isAnew && patched('told-back-anew'))) {
        state.tell(member, { order: 'rollback', reason });
      }
      // It stood still before its turn.
      if (again || before === 'under-way') state.tell(member, { order: 'resume' });
    }
  }

  #record(): void {
    const state = this.#state;
    const { fleet, rolloutId } = state.request;
    for (const { result, member } of state.endings.splice(0)) {
      this.#task(async () => {
        const request = { fleet, rolloutId, ...result };
        await this.#records.insist(() => this.#records.store.recordResult(request));
        state.count(result.outcome);
        if (member !== null) state.open.delete(member.cluster);
      });
    }
  }

  #outcome(): RolloutOutcome | null {
    const state = this.#state;
    if (state.open.size > 0 || this.#tasks > 0 || state.endings.length > 0) return null;
    const { finalized, rolledBack } = state.counts();
    if (state.rollback !== null) return finalized === 0 ? 'rolled-back' : 'partly';
    const over = state.isLate || (state.total === 0 ? this.#order.isRead : this.#isThrough());
    if (!over) return null;
    return finalized === state.total && (finalized > 0 || this.#order.isRead)
      ? 'finalized'
      : rolledBack === state.total && rolledBack > 0
        ? 'rolled-back'
        : 'partly';
  }

  /** The last wave has begun and ended. */
  #isThrough(): boolean {
    return this.#state.positions.cursor >= (this.#state.waves.at(-1)?.to ?? 0);
  }

  /** Shows and tells what it waits for, once for each wait. */
  #show(): void {
    const state = this.#state;
    const waiting = fleetWaiting(state);
    if (waiting?.kind !== state.waiting?.kind) {
      state.waiting = waiting;
      if (waiting !== null && toldWaits.includes(waiting.kind)) {
        state.notices.push({ kind: 'waiting', text: `${waiting.reason} (${waiting.remedy})` });
      }
      if (waiting?.kind === 'budget') {
        state.decide('budget-spent', waiting.reason);
      }
    }
    const { stage, waves, wave } = fleetStatus(state);
    this.#attributes.show({
      QuorumshiftState: waiting === null ? stage : `waiting-${waiting.kind}`,
      QuorumshiftWave: waves[wave]?.name ?? 'done',
    });
  }

  /** Time passes: windows, the deadline, what has not been heard from. */
  #wake(): void {
    const state = this.#state;
    const now = Date.now();
    const silent = (member: FleetMember) => this.#silentUntil(member) <= now;
    const unheard = [...state.open.values()].filter(silent);
    for (const member of unheard) member.heardMs = now;
    if (unheard.length > 0) this.#task(() => this.#children.check(unheard));
    let atMs = Number.POSITIVE_INFINITY;
    for (const member of state.open.values()) atMs = Math.min(atMs, this.#silentUntil(member));
    const { deadlineAtMs, window } = state;
    for (const time of [deadlineAtMs, window?.untilMs ?? null]) {
      if (time !== null && time > now) atMs = Math.min(atMs, time);
    }
    // One timer at a time, which an earlier one replaces: each is two events of the history.
    if (atMs >= this.#alarmMs) return;
    this.#alarmMs = atMs;
    void sleep(Math.max(1, atMs - now)).then(() => {
      if (this.#alarmMs === atMs) this.#alarmMs = Number.POSITIVE_INFINITY;
      state.version += 1;
    });
  }

  #silentUntil({ standing, heardMs, absent }: FleetMember): number {
    if (absent || standing === 'ended') return Number.POSITIVE_INFINITY;
    if (standing === 'foreign') return heardMs + foreignMs;
    return heardMs + (standing === 'under-way' ? silenceMs : soakingSilenceMs);
  }

  /** Runs beside the loop, which goes on when it has ended. */
  #task(work: () => Promise<void>): void {
    this.#tasks += 1;
    void work().finally(() => {
      this.#tasks -= 1;
      this.#state.version += 1;
    });
  }

  /** Everything that is under way inside this workflow has been done. */
  async #settle(): Promise<void> {
    const { decisions, notices, endings } = this.#state;
    const quiet = () =>
      this.#tasks === 0 &&
      this.#children.isIdle &&
      decisions.length === 0 &&
      notices.length === 0 &&
      allHandlersFinished();
    do {
      this.#record();
      await condition(() => quiet() || endings.length > 0);
    } while (endings.length > 0);
  }

  async #continueWhenLong(): Promise<void> {
    const state = this.#state;
    if (!isLong()) return;
    await this.#settle();
    const carried = { ...state.memory() };
    await continueAsNew<typeof migrateFleet>({ ...state.request, carried });
  }
}

/**
 * A signal that crosses with the end of a run has the worker replay all of it, within the time of
 * one workflow task (10 s): of a run of 4,100 events that took 5 to 9 s on a busy worker.
 */
function isLong(): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  return continueAsNewSuggested || (historyLength > longestRunEvents && patched('shorter-runs'));
}
