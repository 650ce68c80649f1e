/**
 * Loaded into a measured process by `node --import`: at its end it writes its peak memory and its
 * event-loop delay to the file that `QUORUMSHIFT_BENCH_PROBE` names.
 */
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/** What a measured process says of itself. */
export interface ProbeReport {
  readonly peakMegabytes: number;
  readonly eventLoopP99Ms: number;
}

const file = process.env['QUORUMSHIFT_BENCH_PROBE'];

// Worker threads load this too; the process is counted once.
if (file !== undefined && isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  process.on('exit', () => {
    const peakMegabytes = process.resourceUsage().maxRSS / 1000;
    const report: ProbeReport = { peakMegabytes, eventLoopP99Ms: delay.percentile(99) / 1e6 };
    writeFileSync(file, JSON.stringify(report));
  });
}
