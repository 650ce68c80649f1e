/**
 * Loaded into a measured process by `node --import`: at its end it writes its peak memory and its
 * event-loop delay into the directory that `QUORUMSHIFT_BENCH_PROBE` names.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/** What a measured process says of itself. */
export interface ProbeReport {
  /** The kernel's high-water mark of resident memory, all of it; 10^6 bytes. */
  readonly peakMegabytes: number;
  readonly eventLoopP99Ms: number;
}

const directory = process.env['QUORUMSHIFT_BENCH_PROBE'];

// Worker threads load this too; the process is counted once.
if (directory !== undefined && isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  process.on('exit', () => {
    const eventLoopP99Ms = delay.percentile(99) / 1e6;
    const report: ProbeReport = { peakMegabytes: peakMegabytes(), eventLoopP99Ms };
    writeFileSync(join(directory, `probe-${process.pid}.json`), JSON.stringify(report));
  });
}

function peakMegabytes(): number {
  const [, kib = '0'] =
    /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return (Number(kib) * 1024) / 1e6;
}
