/**
 * What operators wish of a fleet's rollout. Handlers check, record and return; each decision is
 * written to the audit trail, before it takes effect unless it only holds things still.
 */
import type { UpdateDefinition } from '@temporalio/common';
import { setHandler } from '@temporalio/workflow';

import type { FleetMember } from './fleet-clusters.ts';
import type { FleetState } from './fleet-state.ts';
import { fleetStatus } from './fleet-status.ts';
import type { Accepted, Operation, Wish } from './messages.ts';
import { refuse } from './operations.ts';
import {
  clusterReportSignal,
  fleetApproveUpdate,
  fleetCompleteUpdate,
  fleetPauseUpdate,
  fleetResumeUpdate,
  fleetRollbackUpdate,
  fleetSkipUpdate,
  fleetStatusQuery,
  fleetStopUpdate,
  fleetThrottleUpdate,
} from './rollout-messages.ts';

export class FleetOperations {
  readonly #state: FleetState;

  constructor(state: FleetState) {
    this.#state = state;
  }

  register(): void {
    const state = this.#state;
    setHandler(fleetStatusQuery, () => fleetStatus(state));
    setHandler(clusterReportSignal, (report) => state.hear(report));
    this.#on(fleetPauseUpdate, {
      atOnce: true,
      effect: () => this.#hold(() => (state.paused = true)),
    });
    this.#on(fleetStopUpdate, {
      atOnce: true,
      effect: ({ by, reason }) => this.#hold(() => (state.stopped = { by, reason })),
      reason: ({ reason }) => reason,
    });
    this.#on(fleetThrottleUpdate, {
      atOnce: true,
      effect: ({ bytesPerSecond }) => this.#throttle(bytesPerSecond),
      reason: ({ bytesPerSecond }) => `${bytesPerSecond ?? 'no limit'}`,
    });
    this.#on(fleetResumeUpdate, {
      effect: (_given, isHeldAnew) => {
        if (!isHeldAnew) this.#resume();
      },
    });
    this.#on(fleetApproveUpdate, {
      check: () => this.#checkApproval(),
      effect: () => (state.approvedWaves = state.wave + 1),
    });
    this.#on(fleetSkipUpdate, {
      check: ({ cluster }) => this.#checkSkip(cluster),
      effect: ({ cluster }) => this.#leaveOut(cluster),
      reason: ({ cluster }) => cluster,
    });
    this.#on(fleetRollbackUpdate, {
      check: () => this.#require(state.rollback === null, 'roll back', 'it must not yet'),
      effect: (wish) => this.#rollBack(wish),
      reason: ({ reason }) => reason,
    });
    this.#on(fleetCompleteUpdate, {
      check: () =>
        this.#require(state.counts().soaking > 0, 'finalize', 'some cluster must be soaking'),
      effect: () => {
        for (const member of state.members('soaking', 'soaked')) {
          state.tell(member, { order: 'complete' });
        }
      },
    });
  }

  /** As a workflow's cancel, whoever asked for it. */
  cancel(): void {
    const state = this.#state;
    this.#hold(() => (state.stopped = { by: 'cancel', reason: 'the workflow was cancelled' }));
    state.version += 1;
  }

  #on<Given extends Operation>(
    update: UpdateDefinition<Accepted, [Given]>,
    how: {
      /** Before it is in the audit trail: it only holds things still. */
      readonly atOnce?: boolean;
      readonly check?: (given: Given) => void;
      /** What held things still while the line was written counts more than a wish before it. */
      readonly effect: (given: Given, isHeldAnew: boolean) => void;
      readonly reason?: (given: Given) => string;
    },
  ): void {
    const state = this.#state;
    const { atOnce = false, check, effect, reason } = how;
    const handler = (given: Given): Accepted => {
      const { by } = given;
      if (!state.operations.isNew(given)) return { fresh: false };
      const { holdings } = state;
      const act = () => {
        effect(given, state.holdings !== holdings);
        state.version += 1;
      };
      if (atOnce) act();
      const line = { by, action: update.name, reason: reason?.(given) ?? '' };
      state.record(line, atOnce ? null : act);
      return { fresh: true };
    };
    setHandler(update, handler, { validator: (given: Given) => check?.(given) });
  }

  #hold(set: () => void): void {
    const state = this.#state;
    const held = state.holds;
    set();
    state.holdings += 1;
    if (held) return;
    // Those under way first: each is a signal, and all are sent at once.
    const soaking = state.members('soaking', 'soaked');
    for (const member of [...state.members('under-way', 'between-steps', 'failed'), ...soaking]) {
      state.tell(member, { order: 'pause' });
    }
  }

  #throttle(bytesPerSecond: number | null): void {
    const state = this.#state;
    state.bytesPerSecond = bytesPerSecond;
    for (const member of state.members('under-way', 'between-steps', 'failed')) {
      state.tell(member, { order: 'throttle', bytesPerSecond });
    }
  }

  /** Ends a pause or stop; what failed is tried again, each once its slots are free. */
  #resume(): void {
    const state = this.#state;
    const held = state.holds;
    state.paused = false;
    state.stopped = null;
    for (const member of state.open.values()) {
      // Before its turn to go back, what is under way stands still.
      const goes = state.rollback === null || member.rollingBack;
      const stands = held || member.report?.waiting?.kind === 'paused';
      member.lost = 0;
      if (member.standing === 'failed') member.retry = goes;
      else if (stands && goes) state.tell(member, { order: 'resume' });
    }
  }

  #leaveOut(cluster: string): void {
    const state = this.#state;
    const member = state.open.get(cluster);
    if (member === undefined) state.skip.add(cluster);
    else if (isStill(member)) state.end(member, 'skipped', 'an operator left it out');
  }

  #rollBack({ by, reason }: Wish): void {
    const state = this.#state;
    state.rollback = { by, reason };
    if (state.holds) return;
    // What is under way stands still until its turn.
    for (const member of state.members('under-way')) state.tell(member, { order: 'pause' });
  }

  #checkApproval(): void {
    const { request, approvedWaves, wave } = this.#state;
    const asks = request.policy.approval === 'per-wave';
    this.#require(asks, 'approve', 'its policy must ask for each wave');
    this.#require(approvedWaves <= wave, 'approve', 'a wave must be waiting for it');
  }

  #checkSkip(cluster: string): void {
    const member = this.#state.open.get(cluster);
    if (member === undefined || isStill(member)) return;
    this.#refuse(`skip ${cluster} in`, 'it must not be under way', `it is ${member.standing}`);
  }

  #require(holds: boolean, action: string, required: string): void {
    if (!holds) this.#refuse(action, required, `it is ${fleetStatus(this.#state).stage}`);
  }

  #refuse(action: string, required: string, actual: string): never {
    const subject = `fleet ${this.#state.request.fleet}`;
    refuse('rollout.illegal-action', { action, subject, required, actual });
  }
}

/** Nothing of it is moved by this rollout now. */
function isStill({ standing }: FleetMember): boolean {
  return ['failed', 'foreign', 'between-steps'].includes(standing);
}
