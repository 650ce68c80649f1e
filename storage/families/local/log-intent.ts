/**
 * The intent file makes a change of many segment files one step: written durably before the first
 * file changes, removed durably after the last. From the moment that it lies there the change is
 * made, also for a reader: whoever opens the log for writing completes it.
 *
 * While it lies there, the log directory holds a prefix of the log before, so that braft, which
 * ignores the file, would never see a hole.
 */
import { join } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type { FileLayer } from '../../file-layer.ts';
import { isErrno, readWhole, writeDurably } from '../../files.ts';
import type { LoadedLog } from './load-log.ts';

/** braft ignores this name in a log directory (no `log_`, no `.tmp`). */
const intentName = 'quorumshift-intent.json';
const intentFormat = 'quorumshift-intent/1';
const maxIntentBytes = 4096;

export type LogIntent =
  | { readonly kind: 'reset'; readonly to: bigint }
  | { readonly kind: 'truncate'; readonly lastKept: bigint };

/** @throws `data.corrupt` */
export async function readIntent(files: FileLayer, directory: string): Promise<LogIntent | null> {
  const path = join(directory, intentName);
  const bytes = await readWhole(files, path, maxIntentBytes);
  if (bytes === null) return null;
  const match = /^\{"format":"(.+?)","(reset|truncate)":"(-?\d+)"\}\n$/.exec(
    bytes.toString('utf8'),
  );
  if (match?.[3] === undefined || match[1] !== intentFormat) {
    throw fail('data.corrupt', { file: path, offset: 0, reason: `it is no ${intentFormat}` });
  }
  const index = BigInt(match[3]);
  return match[2] === 'reset'
    ? { kind: 'reset', to: index }
    : { kind: 'truncate', lastKept: index };
}

export async function writeIntent(
  files: FileLayer,
  directory: string,
  intent: LogIntent,
): Promise<void> {
  const index = intent.kind === 'reset' ? intent.to : intent.lastKept;
  const text = `${JSON.stringify({ format: intentFormat, [intent.kind]: index.toString() })}\n`;
  await writeDurably(files, join(directory, intentName), Buffer.from(text));
}

export async function removeIntent(files: FileLayer, directory: string): Promise<void> {
  try {
    await files.removeFile(join(directory, intentName));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  await files.syncDirectory(directory);
}

/** The log as it is once the intent is completed, for a reader that changes nothing. */
export function withIntent(log: LoadedLog, intent: LogIntent | null): LoadedLog {
  if (intent === null) return log;
  if (intent.kind === 'reset') {
    return { ...log, firstIndex: intent.to, lastIndex: intent.to - 1n, segments: [] };
  }
  const { lastKept } = intent;
  return { ...log, lastIndex: lastKept < log.lastIndex ? lastKept : log.lastIndex };
}
