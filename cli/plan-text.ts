/** How long a migration is thought to take, before it has begun. */
import { durationText } from './output.ts';

/**
 * Between a copy, a validation of both and one more digest: bytes read or written per byte of
 * state.
 */
const passes = 5;

/** A cautious rate of one pass on one busy core; docs/benchmarks.md has what was measured. */
const assumedBytesPerSecond = 150 * 1024 * 1024;

export function planEstimateMs(bytes: number): number {
  return (bytes * passes * 1000) / assumedBytesPerSecond;
}

export function planEstimateText(bytes: number): string {
  return durationText(planEstimateMs(bytes));
}
