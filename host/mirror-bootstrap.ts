/**
 * The mirror's way from nothing to dual write, while the primary is written: a copy of a cut,
 * rounds that bring it forward, and a last one with the writers waiting.
 */
import { fail, hasCode } from '../core/errors.ts';
import { discardInstance } from '../storage/binding/former-mirror.ts';
import type { Instance, InstanceUris } from '../storage/contracts.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { copyState } from '../storage/image/copy-state.ts';
import type { TransferOptions } from '../storage/image/state-stream.ts';
import { bringForward } from '../storage/replication/catch-up.ts';
import { digestInstance } from '../storage/equivalence/state-digest.ts';
import type { ChangeTracker } from '../storage/replication/change-tracker.ts';
import type { Pair } from '../storage/replication/open-pair.ts';
import { pairLimits } from '../storage/replication/pair-limits.ts';
import { withPinned } from '../storage/replication/pinned-pair.ts';
import type { DigestElsewhere } from './restart-check.ts';

/** What is copied or compared while writers wait; more than it is done beside them first. */
export const barrierBytes = 1024 * 1024;
/** Rounds that may fail to get below {@link barrierBytes} before it is said. */
const mostRounds = 100;

export interface MirrorBootstrapOptions {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  /** Where the mirror is made. */
  readonly uris: InstanceUris;
  readonly pair: Pair;
  /** Makes it durable that dual write begins; writers wait. */
  readonly joined: () => Promise<void>;
  /** Absent: what was made is not shown to restart (instances that no other process can see). */
  readonly digestElsewhere?: DigestElsewhere | undefined;
}

/** An instance at an earlier state of the primary. */
interface Base {
  instance: Instance;
  /** What has changed since that state; null when another process's life made it. */
  since: ChangeTracker | null;
}

export class MirrorBootstrap {
  readonly #options: MirrorBootstrapOptions;

  constructor(options: MirrorBootstrapOptions) {
    this.#options = options;
  }

  /**
   * Copies a cut, catches up in rounds, and begins dual write in a pause that copies at most 1 MiB.
   * An interrupted one goes on from what it has.
   */
  async run(options: TransferOptions): Promise<void> {
    const { uris } = this.#options;
    const base = await this.#openBase(options);
    try {
      for (let isShown = false; !isShown;) isShown = await this.#showRestart(base, options);
      for (let round = 1; ; round += 1) {
        await this.#round(base, { signal: options.signal });
        await this.#options.pair.engine.snapshots.ended();
        if (await this.#join(base)) return;
        if (round < mostRounds) continue;
        throw fail('mirror.behind', {
          instance: uris.log,
          rounds: mostRounds,
          bytes: barrierBytes,
        });
      }
    } catch (error) {
      await base.instance.close().catch(() => {});
      throw error;
    } finally {
      this.#untrack(base.since);
    }
  }

  /** The mirror at an earlier state of the primary: what is there already, or a copy of a cut. */
  async #openBase(options: TransferOptions): Promise<Base> {
    const { families, files, uris } = this.#options;
    let since: ChangeTracker | null = null;
    for (;;) {
      try {
        return { instance: await families.open(uris, 'read-write', { files }), since };
      } catch (error) {
        const isMissing = hasCode(error, 'instance.missing') || hasCode(error, 'instance.staging');
        if (!isMissing) throw error;
      }
      try {
        since = await this.#copyCut(options);
      } catch (error) {
        // The place was empty when the record named it: what is there is of an earlier copy, of
        // which a discarding that was cut off may have left a part that is neither.
        const isOfNoUse =
          hasCode(error, 'image.source-changed') ||
          hasCode(error, 'image.resume-mismatch') ||
          hasCode(error, 'instance.not-empty');
        if (!isOfNoUse) throw error;
        await discardInstance(this.#options, uris);
      }
    }
  }

  /** @returns what has changed since the cut */
  async #copyCut(options: TransferOptions): Promise<ChangeTracker> {
    const { families, files, uris, pair } = this.#options;
    return withPinned(pair, async (views) => {
      const staging = await families.stage(uris, { files });
      try {
        await copyState(views.primary, staging, options);
        if (views.since.hasRewritten(views.primary.state().lastIndex)) {
          const actual = 'entries of the copied cut were rewritten while it was copied';
          throw fail('image.source-changed', { instance: views.primary.uris.log, actual });
        }
        await staging.publish();
        return views.keep();
      } finally {
        await staging.close();
      }
    });
  }

  /**
   * Brings the base to a cut and has another process open it there (restart-check.ts); false when
   * the cut was overtaken before both were read. @throws `state.different`
   */
  async #showRestart(base: Base, options: TransferOptions): Promise<boolean> {
    const { families, files, uris, digestElsewhere } = this.#options;
    if (digestElsewhere === undefined || families.familyOf(uris).places(uris).length === 0) {
      return true;
    }
    const { signal } = options;
    const paced = { ...options, onProgress: () => {} };
    const show = async (cut: Instance) => {
      await base.instance.close();
      const over = new AbortController();
      const given = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
      const elsewhere = digestElsewhere(uris, given);
      // It may fail while the primary is still read; looked at below.
      elsewhere.catch(() => {});
      try {
        const wanted = (await digestInstance(cut, paced)).root;
        const found = await elsewhere;
        if (found === wanted) return;
        const summary = `"${uris.log}" opened by another process has digest ${found}, the primary ${wanted}`;
        throw fail('state.different', { summary });
      } finally {
        over.abort();
        // The other process is gone by then.
        await elsewhere.catch(() => {});
        base.instance = await families.open(uris, 'read-write', { files });
      }
    };
    return this.#round(base, { signal, held: show });
  }

  /**
   * Brings the base to a cut, and does `held` meanwhile. False when it was overtaken: the
   * next round begins with what is there by then.
   */
  async #round(
    base: Base,
    { signal, held }: { signal: AbortSignal | undefined; held?: (cut: Instance) => Promise<void> },
  ): Promise<boolean> {
    try {
      await withPinned(this.#options.pair, async (views) => {
        const snapshot = base.since?.snapshotReplaced === true ? 'copy' : 'copy-if-other';
        const most = { snapshot, maxBytes: null, ...(signal && { signal }) } as const;
        await bringForward(base.instance, views.primary, most);
        this.#untrack(base.since);
        base.since = views.keep();
        await held?.(views.primary);
      });
      return true;
    } catch (error) {
      if (!hasCode(error, 'image.source-changed')) throw error;
      return false;
    }
  }

  /** The last round, with writers waiting; false when too much is missing for that. */
  async #join(base: Base): Promise<boolean> {
    const { families, pair, uris, joined } = this.#options;
    const { instance, engine } = pair;
    let hasJoined = false;
    await instance.alone(async () => {
      // After a failure nothing changes before the disk has been read again (LOG-8).
      instance.requireWritable('begin dual write of');
      return engine.snapshots.between(async () => {
        if (base.since?.snapshotReplaced === true) return;
        const { primary } = engine;
        const most = { snapshot: 'require', maxBytes: barrierBytes } as const;
        if (!(await bringForward(base.instance, primary, most))) return;
        await joined();
        engine.attach(base.instance);
        const limitsOf = (of: InstanceUris) => families.familyOf(of).limits;
        instance.changeLimits(pairLimits(limitsOf(primary.uris), limitsOf(uris)));
        hasJoined = true;
      });
    });
    return hasJoined;
  }

  #untrack(since: ChangeTracker | null): void {
    if (since !== null) this.#options.pair.engine.untrack(since);
  }
}
