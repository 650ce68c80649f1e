/** How much longer than the primary a mirror may take for one thing (DUAL-8). */

/** What was given to the mirror has not returned, and is waited for no longer. */
export class MirrorLate extends Error {
  constructor(limitMs: number) {
    super(`it took more than ${limitMs} ms longer than the primary`);
  }
}

/**
 * The mirror's result; rejects with {@link MirrorLate} when it comes later than it may, and with
 * the primary's error when that has failed.
 * @param limitMs null: for ever
 * @param after the primary's part: the time counts from its end
 */
export function inTime<Result>(
  onMirror: Promise<Result>,
  { limitMs, after }: { readonly limitMs: number | null; readonly after: Promise<unknown> },
): Promise<Result> {
  if (limitMs === null) return onMirror;
  return new Promise((resolve, reject) => {
    let hasReturned = false;
    let timer: NodeJS.Timeout | undefined;
    after.then(() => {
      if (!hasReturned) timer = setTimeout(() => reject(new MirrorLate(limitMs)), limitMs);
    }, reject);
    const returned = () => {
      hasReturned = true;
      clearTimeout(timer);
    };
    onMirror.finally(returned).then(resolve, reject);
  });
}
