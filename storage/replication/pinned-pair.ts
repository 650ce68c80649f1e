/** Both sides of a pair held at one cut, while it is written on. */
import type { Instance } from '../contracts.ts';
import type { ChangeTracker } from './change-tracker.ts';
import type { Pair } from './open-pair.ts';
import { pinView } from './pinned-view.ts';

export interface PinnedPair {
  readonly primary: Instance;
  /** Null without dual write. */
  readonly mirror: Instance | null;
  /** What has changed since the cut. */
  readonly since: ChangeTracker;
  /** Goes on tracking afterwards; whoever keeps it ends that (`PairEngine.untrack`). */
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
    return { primary, mirror, since };
  });
  let isKept = false;
  const keep = () => {
    isKept = true;
    return views.since;
  };
  try {
    return await work({ ...views, keep });
  } finally {
    if (!isKept) engine.untrack(views.since);
    await views.primary.close();
    await views.mirror?.close();
  }
}
