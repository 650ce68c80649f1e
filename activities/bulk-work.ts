/** Bulk work under control: follows `control.json` while it runs, and reports its progress. */
import type { TransferOptions, TransferProgress } from '../storage/image/state-stream.ts';
import { withPace } from '../storage/binding/control-file.ts';
import type { Step } from './step-runner.ts';

/** How often progress is reported. */
const reportMs = 250;

/** The rate shown is over this time: slow work moves in pieces that come seconds apart. */
const rateWindowMs = 5_000;

interface Sample {
  readonly atMs: number;
  readonly bytesDone: number;
}

export interface BulkTotals {
  /** May change while the work runs: of what the host moves, an estimate. */
  bytesTotal: number;
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
  let progress: TransferProgress | null = null;
  const recent: Sample[] = [];
  const { files } = step.context;
  return withPace(files, step.store.directory, async (pace) => {
    const report = () => {
      const { paused } = pace;
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
    report();
    const timer = setInterval(report, reportMs);
    try {
      return await work({
        rateLimit: pace.rateLimit,
        signal: step.attempt.signal,
        onProgress: (now) => {
          progress = now;
        },
      });
    } finally {
      clearInterval(timer);
    }
  });
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
