/**
 * Whether a run writes less than those of before: reports of what decides, attributes in time, one
 * look where a window is slept for. One mark for all of it, since each is an event and a write.
 */
import { patched } from '@temporalio/workflow';

/** False for histories of before. */
export function tellsLess(): boolean {
  return patched('tells-less');
}
