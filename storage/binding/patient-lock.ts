/** Exclusive locks that are held for milliseconds: waited for, and named when they stay held. */
import { setTimeout as delay } from 'node:timers/promises';

import { fail } from '../../core/errors.ts';
import type { FileLayer, PathLock } from '../file-layer.ts';

/** Between two tries; critical sections take milliseconds. */
const lockRetryMs = 10;

/** After this the holder is named instead of waited for. */
const lockWaitMs = 10_000;

/** @throws `instance.locked`, naming the holder: `action` and `instance` say what waited for it */
export async function lockPatiently(
  files: FileLayer,
  wanted: { readonly path: string; readonly action: string; readonly instance: string },
): Promise<PathLock> {
  const { path, action, instance } = wanted;
  const giveUp = Date.now() + lockWaitMs;
  for (;;) {
    const lock = await files.lock(path, 'exclusive');
    if (!('holder' in lock)) return lock;
    if (Date.now() > giveUp)
      throw fail('instance.locked', { action, instance, holder: lock.holder });
    await delay(lockRetryMs);
  }
}
