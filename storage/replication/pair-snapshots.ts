/**
 * Snapshots of a pair: written to both sides at once, prepared on both, and published by the
 * mutation that names them (DUAL-7). One is prepared on the sides that are there when it begins:
 * until it has ended no side may come, go, or change its place. One is written at a time.
 *
 * Both sides prepare it under one tag, which the watermark names while it is being published: so
 * recovery tells what is to be committed on the other side too (settle-snapshots.ts).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { assert, hasCode } from '../../core/errors.ts';
import type {
  FoundSnapshot,
  Instance,
  PreparedSnapshot,
  SnapshotMeta,
  SnapshotStorage,
  SnapshotWriter,
} from '../contracts.ts';
import { inTime, MirrorLate } from './mirror-limit.ts';
import { SnapshotTurn } from './snapshot-turn.ts';
import { writeFileToBoth } from './tee-snapshot.ts';

/** The sides as they stand, and how a mirror that fails is left. */
export interface SnapshotSides {
  primary(): Instance;
  mirror(): Instance | null;
  leave(mirror: Instance, reason: unknown): Promise<void>;
  /** How much longer than the primary the mirror may take for a part; null: for ever. */
  readonly limitMs: number | null;
}

class PairSnapshot implements PreparedSnapshot {
  /** Under which both sides have prepared it; null without a mirror. */
  readonly tag: string | null;
  readonly primary: PreparedSnapshot;
  readonly mirror: { readonly of: Instance; readonly prepared: PreparedSnapshot } | null;
  /** Told when it is published or aborted. */
  readonly ended: () => void;
  readonly #abortMirror: () => Promise<void>;

  constructor(
    parts: Pick<PairSnapshot, 'tag' | 'primary' | 'mirror' | 'ended'> & {
      readonly abortMirror: () => Promise<void>;
    },
  ) {
    this.tag = parts.tag;
    this.primary = parts.primary;
    this.mirror = parts.mirror;
    this.ended = parts.ended;
    this.#abortMirror = parts.abortMirror;
  }

  get meta(): SnapshotMeta {
    return this.primary.meta;
  }

  async abort(): Promise<void> {
    this.ended();
    await Promise.all([this.primary.abort(), this.#abortMirror()]);
  }
}

/** What {@link PairSnapshots} has prepared, for each side. */
export function preparedOn(
  snapshot: PreparedSnapshot,
  side: { readonly mirror: Instance } | 'primary',
): PreparedSnapshot {
  assert(snapshot instanceof PairSnapshot, 'a snapshot is published where it was prepared');
  if (side === 'primary') return snapshot.primary;
  assert(snapshot.mirror?.of === side.mirror, 'the mirror has prepared what the primary has');
  return snapshot.mirror.prepared;
}

export function tagOf(snapshot: PreparedSnapshot): string | null {
  return snapshot instanceof PairSnapshot ? snapshot.tag : null;
}

/** A snapshot that has begun and not ended. */
interface Opening {
  readonly turn: SnapshotTurn;
  /** Takes away what was written. */
  abort: () => Promise<void>;
}

interface PairWriters {
  readonly opening: Opening;
  readonly primary: SnapshotWriter;
  mirror: { readonly of: Instance; readonly writer: SnapshotWriter } | null;
}

export class PairSnapshots implements SnapshotStorage {
  readonly #sides: SnapshotSides;
  #open: Opening | null = null;
  readonly #awaiting: (() => void)[] = [];
  #changingSides: Promise<void> | null = null;
  /** What a mirror was given to do and has not returned from. */
  readonly #given = new Set<Promise<void>>();

  constructor(sides: SnapshotSides) {
    this.#sides = sides;
  }

  latest(): ReturnType<SnapshotStorage['latest']> {
    return this.#sides.primary().snapshots.latest();
  }

  /** Nothing: recovery has published or aborted what a crash left. */
  async found(): Promise<readonly FoundSnapshot[]> {
    return [];
  }

  /** Resolves when all that a mirror has been given until now has returned. */
  get mirrorReturned(): Promise<unknown> {
    return Promise.all(this.#given);
  }

  get areWritten(): boolean {
    return this.#open !== null;
  }

  /**
   * Runs `work` with no snapshot begun and not ended, and none beginning.
   * @returns false, without having run it, when one is being written
   */
  async between(work: () => Promise<void>): Promise<boolean> {
    if (this.areWritten) return false;
    const worked = work();
    this.#changingSides = worked.catch(() => {});
    try {
      await worked;
    } finally {
      this.#changingSides = null;
    }
    return true;
  }

  /** Resolves when none is being written; another may begin at once. */
  async ended(): Promise<void> {
    while (this.areWritten) {
      await new Promise<void>((resolve) => this.#awaiting.push(resolve));
    }
  }

  /** The snapshot of a mutation has been published on every side. */
  published(snapshot: PreparedSnapshot): void {
    if (snapshot instanceof PairSnapshot) snapshot.ended();
  }

  /** The store has failed, or is closed: what was being written will not be published. */
  abandon(): void {
    const open = this.#open;
    if (open !== null) this.#end(open);
  }

  /** Ends an earlier one that is still being written; waits for one that is being published. */
  async begin(meta: SnapshotMeta): Promise<SnapshotWriter> {
    const turn = new SnapshotTurn(this.#sides.primary().uris.log);
    const opening: Opening = { turn, abort: async () => {} };
    await this.#takeTurn(opening);
    try {
      return await turn.run(() => this.#begin(meta, opening));
    } catch (error) {
      this.#end(opening);
      await opening.abort().catch(() => {});
      throw error;
    }
  }

  async #takeTurn(opening: Opening): Promise<void> {
    while (this.#changingSides !== null || this.#open !== null) {
      await this.#changingSides;
      const open = this.#open;
      if (open === null) continue;
      if (await open.turn.take()) {
        // It may have failed on a side; what matters is that nothing of it is written any more.
        await open.abort().catch(() => {});
        this.#end(open);
      } else await this.ended();
    }
    this.#open = opening;
  }

  async #begin(meta: SnapshotMeta, opening: Opening): Promise<SnapshotWriter> {
    const primary = await this.#sides.primary().snapshots.begin(meta);
    const writers: PairWriters = { primary, mirror: null, opening };
    opening.abort = async () => {
      const { mirror } = writers;
      const onMirror = mirror && this.#abortOn(mirror.of, () => mirror.writer.abort());
      await Promise.all([primary.abort(), onMirror]);
    };
    writers.mirror = await this.#onMirror((mirror) => this.#beginOn(mirror, meta));
    const { turn } = opening;
    return {
      file: (file, bytes) => turn.run(() => this.#write(writers, file, turn.until(bytes))),
      prepare: () => turn.prepare(() => this.#prepare(writers)),
      abort: async () => {
        // Of one that was ended by the next there is nothing left.
        if (this.#open !== opening) return;
        await opening.abort();
        this.#end(opening);
      },
    };
  }

  async #beginOn(
    mirror: Instance,
    meta: SnapshotMeta,
  ): Promise<NonNullable<PairWriters['mirror']>> {
    const { limitMs } = this.#sides;
    // What it was late with may still touch the place that this one begins at.
    await inTime(this.mirrorReturned, { limitMs, after: Promise.resolve() });
    const begun = mirror.snapshots.begin(meta);
    try {
      return { of: mirror, writer: await this.#inTime(begun) };
    } catch (error) {
      if (error instanceof MirrorLate) this.#give(begun.then((writer) => writer.abort()));
      throw error;
    }
  }

  async #write(
    writers: PairWriters,
    file: Parameters<SnapshotWriter['file']>[0],
    bytes: Parameters<SnapshotWriter['file']>[1],
  ): Promise<void> {
    const { primary, mirror } = writers;
    if (mirror === null) return primary.file(file, bytes);
    const { limitMs } = this.#sides;
    const given = (work: Promise<void>) => this.#give(work);
    const to = { primary, mirror: mirror.writer, file, limitMs, given };
    const { onPrimary, onMirror } = await writeFileToBoth(to, bytes);
    if (onPrimary.status === 'rejected') throw onPrimary.reason;
    if (onMirror.status !== 'rejected') return;
    writers.mirror = null;
    await this.#failedOn(mirror.of, onMirror.reason);
  }

  async #prepare(writers: PairWriters): Promise<PairSnapshot> {
    const { mirror, opening } = writers;
    const ended = () => this.#end(opening);
    if (mirror === null) {
      const primary = await writers.primary.prepare();
      return new PairSnapshot({ tag: null, primary, mirror: null, ended, abortMirror: nothing });
    }
    const tag = randomUUID();
    const begun = performance.now();
    const primary = await writers.primary.prepare(tag);
    const tookMs = performance.now() - begun;
    const { of } = mirror;
    const prepared = await this.#onMirror(async (present) => {
      return of === present ? this.#inTime(mirror.writer.prepare(tag), tookMs) : null;
    });
    if (prepared === null) {
      return new PairSnapshot({ tag, primary, mirror: null, ended, abortMirror: nothing });
    }
    const abortMirror = () => this.#abortOn(of, () => prepared.abort());
    return new PairSnapshot({ tag, primary, mirror: { of, prepared }, ended, abortMirror });
  }

  /** The mirror's part; it may take longer than the primary's, which took `primaryMs`. */
  #inTime<Result>(onMirror: Promise<Result>, primaryMs = 0): Promise<Result> {
    this.#give(onMirror);
    const { limitMs } = this.#sides;
    const after = limitMs === null ? Promise.resolve() : delay(primaryMs);
    return inTime(onMirror, { limitMs, after });
  }

  #give(work: Promise<unknown>): void {
    const returned = work.then(nothing, nothing).then(() => void this.#given.delete(returned));
    this.#given.add(returned);
  }

  /** Takes away what it was given, from a mirror that is still there; a late one is left. */
  async #abortOn(mirror: Instance, abort: () => Promise<void>): Promise<void> {
    if (mirror !== this.#sides.mirror()) return;
    try {
      await this.#inTime(abort());
    } catch (error) {
      if (!(error instanceof MirrorLate)) throw error;
      await this.#failedOn(mirror, error);
    }
  }

  /**
   * Does something on the mirror, if there is one; leaves it by policy when that fails, and is null
   * then.
   */
  async #onMirror<Result>(work: (mirror: Instance) => Promise<Result>): Promise<Result | null> {
    const mirror = this.#sides.mirror();
    if (mirror === null) return null;
    try {
      return await work(mirror);
    } catch (error) {
      await this.#failedOn(mirror, error);
      return null;
    }
  }

  /** A mirror that cannot hold what it was given is as it was: the giver is refused (FAM-10). */
  async #failedOn(mirror: Instance, error: unknown): Promise<void> {
    const isRefusal = hasCode(error, 'limit.exceeded') || hasCode(error, 'snapshot.invalid-path');
    if (isRefusal) {
      this.#open?.turn.lose(error);
      throw error;
    }
    if (mirror === this.#sides.mirror()) await this.#sides.leave(mirror, error);
  }

  #end(opening: Opening): void {
    if (this.#open === opening) this.#open = null;
    for (const resolve of this.#awaiting.splice(0)) resolve();
  }
}

async function nothing(): Promise<void> {
  // There is nothing to do.
}
