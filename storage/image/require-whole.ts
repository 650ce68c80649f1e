/** What publishing rests on: the import into a staging place has ended, everything is durable. */
import { fail } from '../../core/errors.ts';
import type { StagingInstance } from '../contracts.ts';
import { importNote } from './import-state.ts';

/** @throws `instance.staging` when the last checkpoint was not the last of its stream */
export function requireWhole(staging: StagingInstance): void {
  const note = importNote(staging);
  if (note !== null && note.snapshot !== null) return;
  const actual = note === null ? 'nothing has been imported' : `up to index ${note.lastIndex}`;
  throw fail('instance.staging', { instance: staging.uris.log, actual });
}
