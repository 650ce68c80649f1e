/** What a rollout does: it looks at the group, begins members' migrations, and steers them. */
import {
  ChildWorkflowFailure,
  condition,
  getExternalWorkflowHandle,
  ParentClosePolicy,
  patched,
  sleep,
  startChild,
  TerminatedFailure,
  workflowInfo,
} from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';

import { contractVersion, replicaWorkflowId } from '../core/ids.ts';
import { standingOf, type SeenMember } from '../core/quorum.ts';
import type { RolloutMember } from '../schemas/cluster-rollout.ts';
import { agentCalls } from './agent-calls.ts';
import { attributePairs } from './attributes.ts';
import { lookAtMembers, type MembersLook } from './cluster-look.ts';
import type { ClusterState } from './cluster-state.ts';
import { describeFailure } from './failures.ts';
import { memberInput, memberInputDigest, memberMigrationId } from './member-input.ts';
import type { migrateReplica } from './migrate-replica.ts';
import {
  coordinateSignal,
  memberOrderSignal,
  type MemberOrder,
  type MemberReport,
} from './rollout-messages.ts';
import { isOpen, isWaitingPaused, type TrackedMember } from './tracked-members.ts';

/** Distributes over the kinds of orders, which Omit does not. */
type Order = MemberOrder extends infer One
  ? One extends MemberOrder
    ? Omit<One, 'operationId' | 'migrationId'>
    : never
  : never;

/** A migration that is asked for a report gives it at once; its worker may be busy. */
const answerMs = 5_000;

/** One that says how it has ended is about to be gone. */
const endsMs = 500;

/** Then it is waited for as for any that says nothing. */
const asks = 4;

export class ClusterCalls {
  readonly #state: ClusterState;
  readonly #searchAttributes: readonly string[];
  #resumed: number;

  /** @param searchAttributes those that the namespace has; a start with another is refused */
  constructor(state: ClusterState, searchAttributes: readonly string[]) {
    this.#state = state;
    this.#searchAttributes = searchAttributes;
    this.#resumed = state.retryVersion;
  }

  /** No wish to try again is left to be passed on. */
  get isPassedOn(): boolean {
    return this.#state.retryVersion === this.#resumed;
  }

  /** Passes the wishes of operators and fleet on to what is under way. */
  async passOn(): Promise<void> {
    const state = this.#state;
    const { paused, bytesPerSecond, retryVersion } = state;
    const by = state.rollout.requestedBy;
    // Begun, and not heard from yet: under way all the same.
    const isBegun = ({ spec, stage, migrationId }: TrackedMember) =>
      stage === 'moving' ||
      (stage === 'pending' && migrationId !== null && !isForeign(spec.member));
    // Histories of before take anything of another's for what holds it.
    const isForeign = (name: string) =>
      state.foreign !== null && (state.foreignTo(name) !== null || !patched('foreign-of-it'));
    const open = state.members.filter((member) => isBegun(member) && isOpen(member));
    if (!this.isPassedOn || (state.passed.paused && !paused)) {
      const stands = (one: TrackedMember) =>
        one.stage === 'failed' || one.isPaused || isWaitingPaused(one);
      const toResume = state.members.filter((one) => isOpen(one) && (isBegun(one) || stands(one)));
      for (const member of toResume) await this.order(member, { order: 'resume', by });
      for (const member of state.undecided) member.wantsRetry = true;
    } else if (paused && !state.passed.paused) {
      for (const member of open) await this.order(member, { order: 'pause', by });
    }
    if (bytesPerSecond !== state.passed.bytesPerSecond) {
      for (const member of open) {
        await this.order(member, { order: 'throttle', by, bytesPerSecond });
      }
    }
    this.#resumed = retryVersion;
    state.passed = { paused, bytesPerSecond };
  }

  async look(): Promise<MembersLook> {
    const look = await lookAtMembers(this.#state.rollout);
    for (const seen of look.members) {
      const member = this.#state.named(seen.member);
      if (member === undefined) continue;
      member.standing = standingOf(look, seen);
      const { migrationId = null, mode = null } = seen.binding ?? {};
      if (migrationId !== null && migrationId === member.migrationId) member.mode = mode;
    }
    return look;
  }

  /** Tells the leader, by its agent, to hand over; null, or why it could not be told. */
  async transfer(from: RolloutMember, to: SeenMember): Promise<string | null> {
    const replica = { cluster: this.#state.rollout.cluster, member: from.member };
    const request = { contractVersion, agentId: from.agentId, replica, to: to.raftId };
    try {
      await agentCalls(from.host).ask.transferLeadership(request);
      return null;
    } catch (error) {
      return describeFailure(error).reason;
    }
  }

  /**
   * Starts the member's migration, or has the open one report: it does so at once. One that is
   * about to end takes what it is told, and may say nothing any more: it is started after its end.
   */
  async attach(member: TrackedMember): Promise<void> {
    const { rolloutId } = this.#state.rollout;
    const { step, attempt } = member;
    member.migrationId ??= memberMigrationId({ rolloutId, step, attempt });
    const { migrationId } = member;
    const wasOpen = isOpen(member);
    const isNews = (said: MemberReport) =>
      (said.outcome === null && !said.failed) || (wasOpen && said.migrationId === migrationId);
    for (let i = 1; ; i += 1) {
      this.#state.lastSaid.delete(member.spec.member);
      if ((await this.#startOrAsk(member, migrationId)) === 'started') return;
      if (!patched('asked-until-it-says')) return;
      if (await this.#hears(member, isNews)) return;
      // What it said may have made it another's turn.
      if (member.migrationId !== migrationId) return;
      if (i === asks || this.#state.abandonWish !== null) return;
    }
  }

  /** Finds out about all whose migrations may be open. */
  async attachOpen(): Promise<void> {
    for (const member of this.#state.members.filter(isOpen)) await this.attach(member);
  }

  async #startOrAsk(member: TrackedMember, migrationId: string): Promise<'started' | 'asked'> {
    const { rollout } = this.#state;
    const { spec, step } = member;
    // One that is open reports at once; one that has ended is started, and answers what it came to.
    if (member.report !== null && (await this.#coordinate(member, workflowInfo().workflowId))) {
      return 'asked';
    }
    const input = memberInput({ rollout, spec, step, migrationId });
    const inputDigest = memberInputDigest(input);
    try {
      const child = await startChild<typeof migrateReplica>('migrateReplica', {
        workflowId: replicaWorkflowId(input.replica),
        args: [
          {
            input,
            inputDigest,
            coordinator: workflowInfo().workflowId,
            searchAttributes: this.#searchAttributes,
          },
        ],
        memo: { migrationId, inputDigest },
        typedSearchAttributes: attributePairs(this.#searchAttributes, {
          QuorumshiftCluster: rollout.cluster,
          QuorumshiftMember: spec.member,
          QuorumshiftHost: spec.host,
        }),
        parentClosePolicy: ParentClosePolicy.ABANDON,
      });
      child.result().catch((error: unknown) => this.#lost(member, migrationId, error));
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      await this.#coordinate(member, workflowInfo().workflowId);
      return 'asked';
    }
    await this.#catchUp(member);
    return 'started';
  }

  /** True once whatever migration it has says something that counts. */
  async #hears(
    { spec }: TrackedMember,
    counts: (report: MemberReport) => boolean,
  ): Promise<boolean> {
    const { lastSaid } = this.#state;
    const said = () => lastSaid.get(spec.member);
    const isOver = () => this.#state.abandonWish !== null;
    await condition(() => said() !== undefined || isOver(), answerMs);
    const report = said();
    if (report === undefined) return false;
    if (counts(report)) return true;
    await sleep(endsMs);
    return false;
  }

  /** A run that has just been started knows of no wish; its machine may not either. */
  async #catchUp(member: TrackedMember): Promise<void> {
    const { bytesPerSecond, paused, rollout } = this.#state;
    const by = rollout.requestedBy;
    if (bytesPerSecond !== rollout.policy.replica.bytesPerSecond) {
      await this.order(member, { order: 'throttle', by, bytesPerSecond });
    }
    if (member.takenBack !== null) {
      const reason = member.reason ?? 'rolled back';
      await this.order(member, { order: 'rollback', by: 'quorumshift', reason });
    } else if (paused && (member.stage === 'moving' || isBeginning(member))) {
      await this.order(member, { order: 'pause', by });
    }
  }

  /** A migration whose workflow was terminated is adopted from its record. */
  #lost(member: TrackedMember, migrationId: string, error: unknown): void {
    const cause = error instanceof ChildWorkflowFailure ? error.cause : error;
    if (!(cause instanceof TerminatedFailure) || member.migrationId !== migrationId) return;
    member.isLost = true;
    this.#state.version += 1;
  }

  /** Has whatever migration of the member is open report; false when none is. */
  async ask(member: TrackedMember): Promise<boolean> {
    const { spec } = member;
    const { rolloutId } = this.#state.rollout;
    const migrationId = memberMigrationId({ rolloutId, step: 'storage', attempt: 1 });
    for (let i = 1; ; i += 1) {
      this.#state.lastSaid.delete(spec.member);
      if (!(await this.#coordinate({ spec, migrationId }, workflowInfo().workflowId))) return false;
      if (!patched('asked-until-it-says')) return true;
      if (await this.#hears(member, () => true)) return true;
      if (i === asks || this.#state.abandonWish !== null) return true;
    }
  }

  /** Nobody coordinates it any more: its operators do. */
  async release(member: TrackedMember): Promise<void> {
    await this.#coordinate(member, null);
  }

  /** False when no workflow runs under its id. */
  async #coordinate(
    { spec, migrationId }: Pick<TrackedMember, 'spec' | 'migrationId'>,
    coordinator: string | null,
  ): Promise<boolean> {
    if (migrationId === null) return false;
    const { workflowId: asker } = workflowInfo();
    return this.#signal(spec, (handle) =>
      handle.signal(coordinateSignal, { coordinator, migrationId, asker }),
    );
  }

  /** One whose workflow is gone is to be adopted. */
  async order(member: TrackedMember, order: Order): Promise<void> {
    const { migrationId } = member;
    if (order.order === 'pause') member.isPaused = true;
    if (order.order === 'resume') member.isPaused = false;
    this.#state.operations += 1;
    const operationId = `${workflowInfo().workflowId}/${this.#state.startedMs}/${this.#state.operations}`;
    const isSent = await this.#signal(member.spec, (handle) =>
      handle.signal(memberOrderSignal, {
        ...order,
        operationId,
        ...(migrationId !== null && { migrationId }),
      }),
    );
    if (isSent || !isOpen(member) || !patched('gone-is-lost')) return;
    member.isLost = true;
    // Nobody has it: the next run is granted it without a wait.
    member.granted = null;
    this.#state.version += 1;
  }

  async #signal(
    { member }: RolloutMember,
    send: (handle: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<boolean> {
    const { cluster } = this.#state.rollout;
    try {
      await send(getExternalWorkflowHandle(replicaWorkflowId({ cluster, member })));
      return true;
    } catch {
      return false;
    }
  }
}

/** Started, and not heard from yet. Histories of before let such a one go on in a pause. */
function isBeginning({ stage }: TrackedMember): boolean {
  return stage === 'pending' && patched('paused-as-begun');
}
