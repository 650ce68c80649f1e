/**
 * Keeps the memory of bulk work flat. V8 lets some 64 MiB of buffers outside its heap pile up, in
 * each thread, before it looks for dead ones; bulk work makes that much in a blink. Buffers of
 * passing batches die young, so a collection of the young generation, well below a millisecond,
 * finds them.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Between two collections: small beside the memory bound of 160 MB, large beside one batch. */
const collectEveryBytes = 4 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => void;

let collect: Collect | null = null;
let spentBytes = 0;

/** Tells that `bytes` of buffers have passed through this thread. */
export function buffersSpent(bytes: number): void {
  spentBytes += bytes;
  if (spentBytes < collectEveryBytes) return;
  spentBytes = 0;
  collect ??= exposeCollector();
  collect({ type: 'minor' });
}

/** Node gives the collector to those who ask V8 for it by flag, in contexts made afterwards. */
function exposeCollector(): Collect {
  setFlagsFromString('--expose-gc');
  const exposed: unknown = runInNewContext('gc');
  return typeof exposed === 'function' ? (exposed as Collect) : () => {};
}
