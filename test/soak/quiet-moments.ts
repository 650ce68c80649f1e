/**
 * Moments in which nothing is killed, to see that a cutover by itself causes no election: the
 * cluster's term stays what it was.
 */
import { strictEqual } from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

import type { SeededRandom } from '../../storage/testing/seeded-random.ts';
import type { KvCluster } from '../go/kv-cluster.ts';
import type { CommandResult } from './operator-command.ts';

/** One cutover of this many is watched; the others may be killed in the middle. */
const watchedOneIn = 3;

/** Answered after a cutover by whoever leads then: a leader that it deposed shows by the term. */
const answersAfter = 20;

/** A machine that does not run a timer for so long may not have sent heartbeats either. */
const standstillMs = 250;
const tickMs = 20;

/** A cluster that has no leader for so long is not quiet. */
const settleMs = 5_000;

export interface QuietMomentsOptions {
  readonly cluster: KvCluster;
  /** Operations that the cluster has answered so far. */
  readonly answered: () => number;
  readonly random: SeededRandom;
}

export class QuietMoments {
  readonly #options: QuietMomentsOptions;
  /** Cutovers that were watched from begin to end. */
  watched = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: QuietMomentsOptions) {
    this.#options = options;
  }

  /** Runs what disturbs the cluster: never beside a cutover that is watched. */
  async disturb(work: () => Promise<void>): Promise<void> {
    await this.#inTurn(work);
  }

  /** Runs a cutover, some of them in quiet. */
  async watch(cutover: () => Promise<CommandResult>): Promise<CommandResult> {
    const { random } = this.#options;
    if (random.below(watchedOneIn) > 0) return cutover();
    return this.#inTurn(() => this.#watched(cutover));
  }

  async #watched(cutover: () => Promise<CommandResult>): Promise<CommandResult> {
    const before = await this.#settledTerm();
    const standstill = new Standstill();
    const result = await cutover();
    const { answered } = this.#options;
    const wanted = answered() + answersAfter;
    const goesOn = async () => answered() >= wanted;
    await this.#options.cluster.until('the cluster goes on after a cutover', goesOn);
    const after = await this.#term();
    const isQuiet = before !== null && after !== null && standstill.end() < standstillMs;
    if (result.code !== 0 || !isQuiet) return result;
    strictEqual(after, before, `the term after a cutover: ${JSON.stringify(result.answer)}`);
    this.watched += 1;
    return result;
  }

  /** The term once one leader has it and all follow; null when that takes too long. */
  async #settledTerm(): Promise<number | null> {
    const deadline = Date.now() + settleMs;
    while (Date.now() < deadline) {
      const { nodes } = this.#options.cluster;
      const term = await this.#term();
      const states = await Promise.all(nodes.map((node) => this.#stateOf(node)));
      const isLed = states.filter((state) => state === 'Leader').length === 1;
      if (term !== null && isLed && !states.includes('Candidate')) return term;
      await delay(tickMs);
    }
    return null;
  }

  /** The same at all nodes, or null. */
  async #term(): Promise<number | null> {
    const { cluster } = this.#options;
    const asked = cluster.nodes.map((node) => cluster.status(node).catch(() => null));
    const terms = new Set((await Promise.all(asked)).map((status) => status?.term ?? null));
    const [term] = terms;
    return terms.size === 1 ? (term ?? null) : null;
  }

  async #stateOf(node: string): Promise<string> {
    const status = await this.#options.cluster.status(node).catch(() => null);
    return status?.state ?? 'gone';
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** How late the machine was at most, in milliseconds. */
class Standstill {
  readonly #timer: NodeJS.Timeout;
  #last = performance.now();
  #latestMs = 0;

  constructor() {
    this.#timer = setInterval(() => this.#look(), tickMs);
  }

  end(): number {
    this.#look();
    clearInterval(this.#timer);
    return this.#latestMs;
  }

  #look(): void {
    const now = performance.now();
    this.#latestMs = Math.max(this.#latestMs, now - this.#last - tickMs);
    this.#last = now;
  }
}
