/** Bulk work under control: follows `control.json` while it runs, and reports its progress. */
import type { TransferOptions, TransferProgress } from '../storage/image/state-stream.ts';
import type { RateLimit } from '../storage/image/rate-limit.ts';
import { readControl } from '../storage/binding/control-file.ts';
import type { Step } from './step-runner.ts';

/** How soon a pause is obeyed, and how often progress is reported. */
const controlPollMs = 250;

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
  let lastBytes = 0;
  let lastMs = performance.now();
  const follow = async () => {
    const control = await readControl(step.context.files, step.store.directory);
    paused = control.paused;
    rateLimit.bytesPerSecond = paused ? 0 : control.bytesPerSecond;
    const now = performance.now();
    const bytesDone = progress?.bytesDone ?? 0;
    const bytesPerSecond = Math.round(((bytesDone - lastBytes) * 1000) / Math.max(1, now - lastMs));
    lastBytes = bytesDone;
    lastMs = now;
    step.attempt.heartbeat({
      phase: step.phase,
      entriesDone: progress?.entriesDone ?? 0,
      entriesTotal: progress?.entriesTotal ?? 0,
      bytesDone,
      bytesTotal: totals.bytesTotal,
      bytesPerSecond,
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
