/** Bulk work under control: follows `control.json` while it runs, and reports its progress. */
import type { TransferOptions, TransferProgress } from '../storage/image/state-stream.ts';
import type { RateLimit } from '../storage/image/rate-limit.ts';
import { readControl } from '../storage/binding/control-file.ts';
import type { Step } from './step-runner.ts';

/** How soon a pause is obeyed, and how often progress is reported. */
const controlPollMs = 250;

/** The rate shown is over this time: slow work moves in pieces that come seconds apart. */
const rateWindowMs = 5_000;

interface Sample {
  readonly atMs: number;
  readonly bytesDone: number;
}

export interface BulkTotals {
  readonly bytesTotal: number;
}

/**
 * Runs `work` with options that pace, report and abort it.
 * @throws what `work` throws; the abort reason once the attempt is cancelled
 */
export async function underControl<T>(
  step: Step,
  totals: BulkTotals,
  work: (options: TransferOptions) => Promise<T>,
): Promise<T> {
  const rateLimit: RateLimit = { bytesPerSecond: null };
  let progress: TransferProgress | null = null;
  let paused = false;
  const recent: Sample[] = [];
  const follow = async () => {
    const control = await readControl(step.context.files, step.store.directory);
    paused = control.paused;
    rateLimit.bytesPerSecond = paused ? 0 : control.bytesPerSecond;
    const bytesDone = progress?.bytesDone ?? 0;
    const bytesPerSecond = rateOf(recent, bytesDone);
    step.attempt.heartbeat({
      phase: step.phase,
      entriesDone: progress?.entriesDone ?? 0,
      entriesTotal: progress?.entriesTotal ?? 0,
      bytesDone,
      bytesTotal: totals.bytesTotal,
      bytesPerSecond: paused ? 0 : bytesPerSecond,
      paused,
    });
  };
  await follow();
  const timer = setInterval(() => {
    // A control file that cannot be read leaves the last wish in force.
    follow().catch(() => {});
  }, controlPollMs);
  try {
    return await work({
      rateLimit,
      signal: step.attempt.signal,
      onProgress: (now) => {
        progress = now;
      },
    });
  } finally {
    clearInterval(timer);
  }
}

/** Bytes per second since the oldest sample of the window; adds a sample, drops those before it. */
function rateOf(recent: Sample[], bytesDone: number): number {
  const now = { atMs: performance.now(), bytesDone };
  recent.push(now);
  while ((recent[1]?.atMs ?? now.atMs) < now.atMs - rateWindowMs) recent.shift();
  const [oldest = now] = recent;
  const elapsedMs = Math.max(1, now.atMs - oldest.atMs);
  return Math.round(((bytesDone - oldest.bytesDone) * 1000) / elapsedMs);
}
