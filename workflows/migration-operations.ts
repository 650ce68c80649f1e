/**
 * What operators and its rollout wish of a migration. Handlers are registered before the first
 * await; they check, record and return.
 */
import { setHandler } from '@temporalio/workflow';

import type { ProofName } from '../activities/contract.ts';
import { replicaText } from '../core/ids.ts';
import {
  abandonUpdate,
  approveUpdate,
  completeUpdate,
  forwardUpdate,
  pauseUpdate,
  resumeUpdate,
  rollbackUpdate,
  statusQuery,
  throttleUpdate,
  type Accepted,
  type Operation,
  type Wish,
} from './messages.ts';
import type { MigrationState } from './migration-state.ts';
import { migrationStatus } from './migration-status.ts';
import { refuse } from './operations.ts';
import {
  coordinateSignal,
  leaseAnswerSignal,
  memberOrderSignal,
  type CoordinateRequest,
  type MemberOrder,
} from './rollout-messages.ts';

export class MigrationOperations {
  readonly #state: MigrationState;

  constructor(state: MigrationState) {
    this.#state = state;
  }

  register(): void {
    const state = this.#state;
    setHandler(statusQuery, () => migrationStatus(state));
    setHandler(pauseUpdate, (given) => this.#once(given, () => state.setPaused(true)));
    setHandler(resumeUpdate, (given) => this.#once(given, () => state.setPaused(false)));
    setHandler(throttleUpdate, (given) =>
      this.#once(given, () => state.throttle(given.bytesPerSecond)),
    );
    setHandler(approveUpdate, (given) => this.#once(given, () => state.approve(given, given.by)), {
      validator: (proof: ProofName) => {
        this.#checkCoordinated();
        this.#checkApproval(proof);
      },
    });
    setHandler(
      rollbackUpdate,
      (given) => ({
        ...this.#once(given, () => (state.rollbackWish = wishOf(given))),
        paused: state.paused,
      }),
      { validator: (_given) => this.#checkRollback() },
    );
    setHandler(
      forwardUpdate,
      (given) => ({
        ...this.#once(given, () => (state.forwardWish = wishOf(given))),
        paused: state.paused,
      }),
      { validator: (_given) => this.#checkForward() },
    );
    setHandler(
      completeUpdate,
      (given) => this.#once(given, () => state.complete({ by: given.by, reason: '' })),
      { validator: (_given) => this.#checkComplete() },
    );
    setHandler(abandonUpdate, (given) =>
      this.#once(given, () => (state.abandonWish = wishOf(given))),
    );
    setHandler(coordinateSignal, (asked) => this.#coordinate(asked));
    setHandler(memberOrderSignal, (order) => this.#obey(order));
    setHandler(leaseAnswerSignal, (answer) => {
      state.leaseAnswers = { ...state.leaseAnswers, [answer.group]: answer };
    });
  }

  #once(operation: Operation, act: () => void): Accepted {
    if (!this.#state.isNew(operation)) return { fresh: false };
    act();
    return { fresh: true };
  }

  #coordinate({ coordinator, migrationId, asker }: CoordinateRequest): void {
    const state = this.#state;
    if (migrationId === state.request.input.migrationId) {
      state.coordinator = coordinator;
      state.coordinatorIsGone = false;
      state.coordinatedAt += 1;
    } else state.asker = asker;
  }

  /** One that is not legal now changes nothing: a report tells how the migration stands. */
  #obey(order: MemberOrder): void {
    const state = this.#state;
    const { migrationId } = state.request.input;
    if ((order.migrationId ?? migrationId) !== migrationId) return;
    const act = () => {
      const wish = { by: order.by, reason: 'reason' in order ? order.reason : '' };
      if (order.order === 'pause' || order.order === 'resume') {
        state.setPaused(order.order === 'pause');
      } else if (order.order === 'throttle') state.throttle(order.bytesPerSecond);
      else if (order.order === 'abandon') state.abandonWish = wish;
      else if (order.order === 'approveCutover') {
        const { proof, notAfterMs } = order;
        if (state.isPresent(proof)) state.approve(proof, order.by, notAfterMs);
      } else if (order.order === 'rollback') {
        // Before it owns the replica it is decided then, before anything else.
        if (state.view === null || state.canRollBack) state.rollbackWish ??= wish;
      } else if (order.order === 'begin') state.letBegin(order.notAfterMs ?? Infinity);
      else state.complete(wish);
    };
    this.#once(order, act);
    state.coordinatedAt += 1;
  }

  #checkCoordinated(): void {
    const { isCoordinated, request, coordinator } = this.#state;
    if (!isCoordinated) return;
    const replica = replicaText(request.input.replica);
    refuse('migration.coordinated', { replica, coordinator: coordinator ?? '' });
  }

  #checkApproval(given: ProofName): void {
    if (this.#state.isPresent(given)) return;
    const present = this.#state.view?.proof ?? null;
    refuse('proof.stale', {
      present: present ? `${present.digest} (generation ${present.generation})` : 'none yet',
      given: `${given.digest} (generation ${given.generation})`,
    });
  }

  #checkRollback(): void {
    if (this.#state.canRollBack) return;
    const required = 'it must have begun and not be final, nor be rolling back already';
    this.#refuse('roll back', required);
  }

  #checkForward(): void {
    if (this.#state.canGoForward) return;
    const required = 'it must be moving the target’s state back, and not have swapped yet';
    this.#refuse('cancel the rollback of', required);
  }

  #checkComplete(): void {
    if (!this.#state.isSoaking) this.#refuse('finalize', 'it must be soaking');
  }

  #refuse(action: string, required: string): never {
    const { request, phase, stage } = this.#state;
    const replica = replicaText(request.input.replica);
    const actual = `it is in phase ${phase ?? stage}`;
    return refuse('migration.illegal-action', { action, replica, required, actual });
  }
}

/** Without the operation's id: it is carried on, and shown. */
function wishOf({ by, reason }: Operation & Wish): Wish {
  return { by, reason };
}
