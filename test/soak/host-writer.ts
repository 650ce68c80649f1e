/**
 * A client of a storage host that writes without a pause through every kill of the host, and after
 * each compares the whole state with what it was told.
 */
import { deepStrictEqual } from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';

import { status, type ServiceError } from '@grpc/grpc-js';

import { codeKey } from '../../host/grpc-errors.ts';
import type { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { moves } from '../../storage/testing/conformance-pairs.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { allowedStates } from '../../storage/testing/crash-situations.ts';
import type { SeededRandom } from '../../storage/testing/seeded-random.ts';
import {
  applyToModel,
  dumpModel,
  emptyModel,
  type ModelMutation,
  type StateModel,
} from '../../storage/testing/state-model.ts';
import { openReplica, WriteStream } from '../host/host-session.ts';
import { dumpReplica, mutationMessage, sendSnapshot } from './replica-dump.ts';

/** The whole log is read back after each kill: beyond this its prefix is dropped. */
const mostEntries = 400;
/** Appends that are sent without waiting for an answer. */
const mostInFlight = 8;

interface Session {
  readonly client: StorageHostClient;
  readonly stream: WriteStream;
  readonly epoch: bigint;
}

export class HostWriter {
  readonly member: string;
  readonly #random: SeededRandom;
  /** What was acknowledged. */
  #model: StateModel = emptyModel;
  /** What was sent and not answered. */
  #inFlight: ModelMutation | null = null;
  #epoch = 0n;
  /** The highest term that an entry was sent with. */
  #highest = 0n;
  /**
   * Of the next entries: once some were taken away, a new leader's come in their place. With an
   * older term two logs could agree at one index and differ below, which Raft rules out.
   */
  #lowestNext = 0n;
  /** Acknowledged mutations. */
  writes = 0;
  /** How often the whole state was compared. */
  checks = 0;

  constructor(member: string, random: SeededRandom) {
    this.member = member;
    this.#random = random;
  }

  /**
   * Writes until the connection breaks or `isOver`.
   * @throws when the host has lost something, or refuses what is legal
   */
  async write(client: StorageHostClient, isOver: () => boolean): Promise<void> {
    try {
      const session = await this.#open(client);
      await this.#check(client);
      while (!isOver()) await this.#writeOne(session, this.#move());
      await session.stream.end();
    } catch (error) {
      if (!isBroken(error)) throw error;
    }
  }

  async #open(client: StorageHostClient): Promise<Session> {
    const { member } = this;
    const opener = `soak-${member}`;
    const { epoch } = await openReplica(client, member, { opener, resumes: this.#epoch });
    if (epoch <= this.#epoch) throw new Error(`${member}: epoch ${epoch} follows ${this.#epoch}`);
    this.#epoch = epoch;
    return { client, epoch, stream: new WriteStream(client, member, epoch) };
  }

  /** All that was acknowledged is there, and at most what was in flight besides (I1). */
  async #check(client: StorageHostClient): Promise<void> {
    const found = await dumpReplica(client, this.member);
    const allowed =
      this.#inFlight === null ? [this.#model] : allowedStates(this.#model, this.#inFlight);
    const model = allowed.find((state) => isDeepStrictEqual(dumpModel(state), found));
    if (model === undefined) {
      const inFlight = JSON.stringify(this.#inFlight, (_, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      );
      const message = `${this.member}, after ${this.writes} writes, in flight: ${inFlight}`;
      deepStrictEqual(found, dumpModel(this.#model), message);
    }
    this.#model = model ?? this.#model;
    this.#inFlight = null;
    this.checks += 1;
  }

  async #writeOne(session: Session, mutation: ModelMutation): Promise<void> {
    const { snapshot, entries, ...rest } = mutation;
    this.#inFlight = mutation;
    this.#noteTerms(mutation);
    if (snapshot !== undefined) await this.#publish(session, mutation);
    else if (entries !== undefined && Object.keys(rest).length === 0) {
      return this.#pipeline(session, entries);
    } else {
      const { stream } = session;
      await stream.until(stream.send(mutationMessage(mutation)));
    }
    this.#acknowledge(mutation);
  }

  #acknowledge(mutation: ModelMutation): void {
    this.#model = applyToModel(this.#model, mutation);
    this.#inFlight = null;
    this.writes += 1;
  }

  async #publish({ client, epoch }: Session, mutation: ModelMutation): Promise<void> {
    const { snapshot, ...rest } = mutation;
    if (snapshot === undefined) return;
    const also = Object.keys(rest).length === 0 ? null : mutationMessage(rest);
    await sendSnapshot(client, { member: this.member, epoch, snapshot, mutation: also });
  }

  /** One append a message; those that were answered before a break count. */
  async #pipeline(
    { stream }: Session,
    { after, list }: NonNullable<ModelMutation['entries']>,
  ): Promise<void> {
    const sent = list.map((entry) => {
      const entries = { after: entry.index - 1n, list: [entry] };
      return { entry, sequence: stream.send(mutationMessage({ entries })) };
    });
    const isAnswered = (sequence: bigint) => sequence <= (stream.acknowledged.at(-1) ?? 0n);
    try {
      await stream.until(sent.at(-1)?.sequence ?? 0n);
    } finally {
      const told = sent.filter(({ sequence }) => isAnswered(sequence)).map(({ entry }) => entry);
      this.#acknowledge({ entries: { after, list: told } });
      const rest = list.slice(told.length);
      if (rest.length > 0) {
        this.#inFlight = { entries: { after: after + BigInt(told.length), list: rest } };
      }
    }
  }

  /** Mostly appends, as a log has; now and then anything else. */
  #move(): ModelMutation {
    const { entries } = this.#model;
    const append = this.#append();
    const kind = this.#random.below(100);
    if (entries.length > mostEntries) return moves['prefix truncation in the middle'](this.#model);
    if (kind < 80 || entries.length < 3) return append;
    const all = Object.values(moves);
    const move: ModelMutation = all[this.#random.below(all.length)]?.(this.#model) ?? append;
    return this.#isLegal(move) ? move : append;
  }

  #append(): ModelMutation {
    const { firstIndex, entries, meta } = this.#model;
    const last = firstIndex + BigInt(entries.length) - 1n;
    const count = BigInt(1 + this.#random.below(mostInFlight));
    const before = entries.at(-1)?.term ?? 0n;
    const term = [before, meta.term, this.#lowestNext].reduce((a, b) => (a > b ? a : b));
    return { entries: { after: last, list: entriesOf(last + 1n, last + count, term) } };
  }

  /** Whether a Raft log may change so (I5): terms rise, above those of what is replaced. */
  #isLegal({ reset, truncate, entries }: ModelMutation): boolean {
    if (reset !== undefined && reset < 1n) return false;
    const term = entries?.list[0]?.term;
    if (entries === undefined || term === undefined) return true;
    const before = this.#model.entries.find(({ index }) => index === entries.after)?.term ?? 0n;
    return term >= before && term >= this.#lowestNext && (!truncate || term > this.#highest);
  }

  #noteTerms({ reset, truncate, entries }: ModelMutation): void {
    const takesAway = reset !== undefined || (truncate !== undefined && 'lastKept' in truncate);
    if (takesAway) this.#lowestNext = this.#highest + 1n;
    const term = entries?.list.at(-1)?.term ?? 0n;
    if (term > this.#highest) this.#highest = term;
  }
}

/** The host is gone; it has refused nothing. */
function isBroken(error: unknown): boolean {
  if (!(error instanceof Error) || !('metadata' in error)) return false;
  const { code, metadata } = error as ServiceError;
  const isAway = code === status.UNAVAILABLE || code === status.CANCELLED;
  return isAway && metadata.get(codeKey).length === 0;
}
