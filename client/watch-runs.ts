/** Reports of a run until it has ended. */
import { setTimeout as delay } from 'node:timers/promises';

import type { RunState } from './workflow-calls.ts';

export interface WatchOptions {
  readonly intervalMs: number;
  /** The report under way is the one at the end. */
  readonly signal?: AbortSignal;
}

/** One after each `intervalMs`. */
export async function* watchRuns<Report extends { readonly run: RunState }>(
  status: () => Promise<Report>,
  { intervalMs, signal }: WatchOptions,
): AsyncGenerator<Report> {
  for (;;) {
    const report = await status();
    yield report;
    if (report.run !== 'running' || signal?.aborted) return;
    await delay(intervalMs);
  }
}
