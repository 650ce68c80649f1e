/**
 * Snapshots of a pair: written to both sides at once, prepared on both, and published by the
 * mutation that names them (DUAL-7). One is prepared on the sides that are there when it begins:
 * until it has ended no side may come, go, or change its place.
 */
import { assert } from '../../core/errors.ts';
import type {
  Instance,
  PreparedSnapshot,
  SnapshotMeta,
  SnapshotStorage,
  SnapshotWriter,
} from '../contracts.ts';
import { writeFileToAll } from './tee-snapshot.ts';

/** The sides as they stand, and how a mirror that fails is left. */
export interface SnapshotSides {
  primary(): Instance;
  mirror(): Instance | null;
  leave(mirror: Instance, reason: unknown): Promise<void>;
}

class PairSnapshot implements PreparedSnapshot {
  readonly primary: PreparedSnapshot;
  readonly mirror: { readonly of: Instance; readonly prepared: PreparedSnapshot } | null;
  /** Told when it is published or aborted. */
  readonly ended: () => void;

  constructor(parts: Pick<PairSnapshot, 'primary' | 'mirror' | 'ended'>) {
    this.primary = parts.primary;
    this.mirror = parts.mirror;
    this.ended = parts.ended;
  }

  get meta(): SnapshotMeta {
    return this.primary.meta;
  }

  async abort(): Promise<void> {
    this.ended();
    await Promise.all([this.primary.abort(), this.mirror?.prepared.abort()]);
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

interface PairWriters {
  /** Names it among those that have not ended. */
  readonly opening: object;
  readonly primary: SnapshotWriter;
  mirror: { readonly of: Instance; readonly writer: SnapshotWriter } | null;
}

export class PairSnapshots implements SnapshotStorage {
  readonly #sides: SnapshotSides;
  readonly #open = new Set<object>();
  readonly #awaiting: (() => void)[] = [];
  #changingSides: Promise<void> = Promise.resolve();

  constructor(sides: SnapshotSides) {
    this.#sides = sides;
  }

  latest(): ReturnType<SnapshotStorage['latest']> {
    return this.#sides.primary().snapshots.latest();
  }

  get areWritten(): boolean {
    return this.#open.size > 0;
  }

  /**
   * Runs `work` with no snapshot begun and not ended, and none beginning.
   * @returns false, without having run it, when one is being written
   */
  async between(work: () => Promise<void>): Promise<boolean> {
    if (this.areWritten) return false;
    const worked = work();
    this.#changingSides = worked.catch(() => {});
    await worked;
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

  async begin(meta: SnapshotMeta): Promise<SnapshotWriter> {
    await this.#changingSides;
    const opening = {};
    this.#open.add(opening);
    try {
      return await this.#begin(meta, opening);
    } catch (error) {
      this.#end(opening);
      throw error;
    }
  }

  async #begin(meta: SnapshotMeta, opening: object): Promise<SnapshotWriter> {
    const primary = await this.#sides.primary().snapshots.begin(meta);
    const writers: PairWriters = { primary, mirror: null, opening };
    await this.#onMirror(async (mirror) => {
      writers.mirror = { of: mirror, writer: await mirror.snapshots.begin(meta) };
    });
    return {
      file: (file, bytes) => this.#write(writers, file, bytes),
      prepare: () => this.#prepare(writers),
      abort: async () => {
        this.#end(opening);
        await Promise.all([primary.abort(), writers.mirror?.writer.abort()]);
      },
    };
  }

  async #write(
    writers: PairWriters,
    file: Parameters<SnapshotWriter['file']>[0],
    bytes: Parameters<SnapshotWriter['file']>[1],
  ): Promise<void> {
    const { primary, mirror } = writers;
    const given = mirror === null ? [primary] : [primary, mirror.writer];
    const [onPrimary, onMirror] = await writeFileToAll(given, file, bytes);
    if (onPrimary?.status === 'rejected') throw onPrimary.reason;
    if (mirror === null || onMirror?.status !== 'rejected') return;
    writers.mirror = null;
    if (mirror.of === this.#sides.mirror()) await this.#sides.leave(mirror.of, onMirror.reason);
  }

  async #prepare(writers: PairWriters): Promise<PairSnapshot> {
    const primary = await writers.primary.prepare();
    const { mirror, opening } = writers;
    const ended = () => this.#end(opening);
    if (mirror === null) return new PairSnapshot({ primary, mirror: null, ended });
    let prepared: PairSnapshot['mirror'] = null;
    await this.#onMirror(async (of) => {
      if (of === mirror.of) prepared = { of, prepared: await mirror.writer.prepare() };
    });
    return new PairSnapshot({ primary, mirror: prepared, ended });
  }

  /** Does something on the mirror, if there is one; leaves it by policy when that fails. */
  async #onMirror(work: (mirror: Instance) => Promise<void>): Promise<void> {
    const mirror = this.#sides.mirror();
    if (mirror === null) return;
    try {
      await work(mirror);
    } catch (error) {
      if (mirror === this.#sides.mirror()) await this.#sides.leave(mirror, error);
    }
  }

  #end(opening: object): void {
    this.#open.delete(opening);
    for (const resolve of this.#awaiting.splice(0)) resolve();
  }
}
