/**
 * What operators and its fleet wish of a cluster's rollout. Handlers are registered before the
 * first await; they check, record and return. Each wish is written to the audit trail, before it
 * takes effect unless it only holds things still or goes back.
 */
import type { UpdateDefinition } from '@temporalio/common';
import { patched, setHandler } from '@temporalio/workflow';

import type { ClusterState } from './cluster-state.ts';
import { canBeSkipped, canGoBack, clusterStatus } from './cluster-status.ts';
import type { ClusterTrail } from './cluster-trail.ts';
import type { Accepted, Operation } from './messages.ts';
import { refuse } from './operations.ts';
import {
  clusterAbandonUpdate,
  clusterApproveUpdate,
  clusterCompleteUpdate,
  clusterOrderSignal,
  clusterPauseUpdate,
  clusterResumeUpdate,
  clusterRollbackUpdate,
  clusterSkipUpdate,
  clusterStatusQuery,
  clusterThrottleUpdate,
  coordinateClusterSignal,
  memberReportSignal,
  type ClusterOrder,
} from './rollout-messages.ts';
import type { TrackedMember } from './tracked-members.ts';

interface Effect {
  /** Before it is in the audit trail. */
  readonly atOnce?: boolean;
  readonly act: () => void;
  readonly reason?: string;
}

export class ClusterOperations {
  readonly #state: ClusterState;
  readonly #trail: ClusterTrail;

  constructor(state: ClusterState, trail: ClusterTrail) {
    this.#state = state;
    this.#trail = trail;
  }

  register(): void {
    const state = this.#state;
    setHandler(clusterStatusQuery, () => clusterStatus(state));
    setHandler(memberReportSignal, (report) => state.soon(() => state.hear(report)));
    setHandler(coordinateClusterSignal, ({ coordinator }) => {
      state.coordinator = coordinator;
      state.coordinatedAt += 1;
      state.version += 1;
    });
    setHandler(clusterOrderSignal, (order) => state.soon(() => this.#obey(order)));
    this.#on(clusterPauseUpdate, () => this.#pause());
    this.#on(clusterResumeUpdate, () => this.#goOn());
    this.#on(clusterApproveUpdate, (given) => this.#approve(given));
    this.#on(clusterThrottleUpdate, ({ bytesPerSecond }) => this.#throttle(bytesPerSecond));
    this.#on(
      clusterSkipUpdate,
      ({ member }) => this.#skip(member),
      ({ member }) => this.#checkSkip(member),
    );
    this.#on(
      clusterRollbackUpdate,
      (given) => this.#rollBack(given.member, given),
      ({ member }) => this.#checkRollback(member),
    );
    this.#on(
      clusterCompleteUpdate,
      (given) => this.#complete(given),
      () => this.#checkComplete(),
    );
    this.#on(clusterAbandonUpdate, (given) => this.#abandon(given));
  }

  /** As a workflow's cancel, whoever asked for it. */
  cancel(): void {
    const wish = { by: 'cancel', reason: 'workflow cancelled', operationId: 'cancel' };
    if (this.#state.abandonWish === null) this.#wish('abandon', wish, this.#abandon(wish));
  }

  #on<Given extends Operation>(
    update: UpdateDefinition<Accepted, [Given]>,
    effectOf: (given: Given) => Effect,
    check?: (given: Given) => void,
  ): void {
    setHandler(update, (given: Given) => this.#wish(update.name, given, effectOf(given)), {
      validator: (given: Given) => {
        this.#checkOpen(update.name);
        check?.(given);
      },
    });
  }

  #wish(action: string, operation: Operation, { atOnce, act, reason = '' }: Effect): Accepted {
    const state = this.#state;
    if (!state.isNew(operation)) return { fresh: false };
    const effect = () => {
      act();
      state.version += 1;
    };
    const acts = atOnce === true || !this.#trail.isKept;
    if (acts) effect();
    const { by, operationId: key } = operation;
    const line = { by, action, reason, key };
    state.soon(() => this.#trail.note(line, acts ? null : effect));
    return { fresh: true, paused: state.paused && action !== 'resume' };
  }

  /** A fleet's order that is not legal now changes nothing; the report that follows says why. */
  #obey(order: ClusterOrder): void {
    const state = this.#state;
    if (!state.isOver) this.#wish(order.order, order, this.#effectOf(order));
    state.coordinatedAt += 1;
    state.version += 1;
  }

  #effectOf(order: ClusterOrder): Effect {
    switch (order.order) {
      case 'pause':
        return this.#pause();
      case 'resume':
        return this.#resume();
      case 'approve':
        return this.#approve(order);
      case 'complete':
        return this.#complete(order);
      case 'next-step':
        return this.#nextStep();
      case 'throttle':
        return this.#throttle(order.bytesPerSecond);
      case 'abandon':
        return this.#abandon(order);
      case 'rollback':
      default:
        return this.#rollBack(null, order);
    }
  }

  /** An operator's: of a fleet's order its fleet gives the slot itself. */
  #goOn(): Effect {
    const { act: resumes } = this.#resume();
    const { act: takesStep } = this.#nextStep();
    const act = () => {
      // One that only ends a pause leaves the rest as it is.
      const { paused } = this.#state;
      resumes();
      if (!paused && !this.#state.paused) takesStep();
    };
    return { act };
  }

  #nextStep(): Effect {
    const state = this.#state;
    const act = () => {
      state.needsSlot = false;
      // The report that answers must not tell of the wait any more.
      if (state.waiting?.kind === 'slot') state.waiting = null;
    };
    return { atOnce: true, act };
  }

  #pause(): Effect {
    const state = this.#state;
    const act = () => {
      state.paused = true;
      state.pauses += 1;
    };
    return { atOnce: true, act };
  }

  #resume(): Effect {
    const state = this.#state;
    const { pauses } = state;
    const act = () => {
      // A pause that came while the line was written counts more.
      if (state.pauses !== pauses) return;
      state.paused = false;
      state.retryVersion += 1;
    };
    return { act };
  }

  #approve({ by }: Operation): Effect {
    const state = this.#state;
    const act = () => {
      if (!state.isApproved) state.approvedBy = by;
      state.isApproved = true;
    };
    return { act };
  }

  #throttle(bytesPerSecond: number | null): Effect {
    const act = () => {
      this.#state.bytesPerSecond = bytesPerSecond;
    };
    return { atOnce: true, act, reason: `${bytesPerSecond ?? 'no limit'}` };
  }

  #skip(name: string): Effect {
    const state = this.#state;
    const act = () => {
      const member = state.named(name);
      if (member === undefined) return;
      // Histories of before take one that has ended, too, for what holds it.
      const wasHeld = state.foreign?.member === name && member.stage === 'pending';
      if (!canBeSkipped(state, member) && (!wasHeld || patched('skip-of-open'))) return;
      member.stage = 'skipped';
      member.reason ??= 'an operator left it out';
    };
    return { act, reason: name };
  }

  #rollBack(member: string | null, { by, reason }: { by: string; reason: string }): Effect {
    const act = () => this.#state.wishBack(member, { by, reason });
    return { atOnce: true, act, reason: member === null ? reason : `${member}: ${reason}` };
  }

  #complete({ by }: Operation): Effect {
    const state = this.#state;
    const act = () => {
      state.completeWish = state.of('soaking').length > 0;
      if (state.completeWish) state.completedBy = by;
    };
    return { act };
  }

  #abandon({ by, reason }: { by: string; reason: string }): Effect {
    const act = () => {
      this.#state.abandonWish = { by, reason };
    };
    return { atOnce: true, act, reason };
  }

  #checkOpen(action: string): void {
    if (!this.#state.isOver) return;
    this.#refuse(action, 'it must not have ended', 'its end is being written down');
  }

  #checkSkip(name: string): void {
    const member = this.#known(name);
    if (canBeSkipped(this.#state, member)) return;
    this.#refuse(`leave ${name} out of`, 'it must not be under way', `${name} is ${member.stage}`);
  }

  #checkRollback(name: string | null): void {
    if (name === null) {
      if (this.#state.members.some((one) => canGoBack(one))) return;
      this.#refuse('roll back', 'a member must have begun and not be final', 'none is');
    }
    const member = this.#known(name);
    if (canGoBack(member)) return;
    const required = 'it must have begun and not be final';
    this.#refuse(`roll back ${name} of`, required, `it is ${member.stage}`);
  }

  #checkComplete(): void {
    if (this.#state.of('soaking').length > 0) return;
    this.#refuse('finalize', 'a member must be soaking', 'none is');
  }

  #known(name: string): TrackedMember {
    const member = this.#state.named(name);
    if (member !== undefined) return member;
    return this.#refuse('find a member of', 'it must be declared', `${name} is not`);
  }

  #refuse(action: string, required: string, actual: string): never {
    const subject = `cluster ${this.#state.rollout.cluster}`;
    refuse('rollout.illegal-action', { action, subject, required, actual });
  }
}
