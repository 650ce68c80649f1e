/** Both sides of a pair held at one cut, while it is written on. */
import type { Instance } from '../contracts.ts';
import type { ChangeTracker } from './change-tracker.ts';
import type { Pair } from './open-pair.ts';
import { pinView } from './pinned-view.ts';

export interface PinnedPair {
  readonly primary: Instance;
  /** Null without dual write. */
  readonly mirror: Instance | null;
  /** Both sides themselves, in either order. */
  readonly sides: readonly Instance[];
  /** What has changed since the cut. */
  readonly since: ChangeTracker;
  /** One that goes on tracking afterwards; who asked for it ends that (`PairEngine.untrack`). */
  readonly keep: () => ChangeTracker;
}

/** The cut is taken between two mutations; the views are let go of when `work` has ended. */
export async function withPinned<Result>(
  { instance, engine }: Pair,
  work: (pinned: PinnedPair) => Promise<Result>,
): Promise<Result> {
  const views = await instance.alone(async () => {
    const since = engine.track();
    const primary = await pinView(engine.primary, since);
    const mirror = engine.mirror && (await pinView(engine.mirror, since));
    const sides = engine.mirror === null ? [engine.primary] : [engine.primary, engine.mirror];
    return { primary, mirror, sides, since };
  });
  try {
    return await work({ ...views, keep: () => engine.track(views.since) });
  } finally {
    engine.untrack(views.since);
    await views.primary.close();
    await views.mirror?.close();
  }
}
