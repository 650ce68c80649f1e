/**
 * Of two equal logs the payloads need be checked once: where one side's bytes were found equal to
 * bytes that were checked, it is enough that its headers state the same checksums. Whatever is not
 * equal is checked here as a reader does it.
 */
import { crc32c } from '@node-rs/crc32';

import { fail } from '../../core/errors.ts';
import type { Instance } from '../contracts.ts';
import { lastIndexOf, payloadAt, type EntryBatch } from '../entry-batch.ts';

/**
 * Whether the checksums that `batch` states, if it only states them, are those of `twin`, which
 * has the same bytes and was checked.
 */
export function statesChecksumsOf(twin: EntryBatch, batch: EntryBatch): boolean {
  const { statedCrc32c: stated } = batch;
  if (stated === undefined) return true;
  const { payloadCrc32c: checked } = twin;
  return checked !== undefined && checked.every((crc, i) => crc === stated[i]);
}

/**
 * Checks what `batch`, read from `instance`, only states.
 * @throws `data.corrupt` naming the place
 */
export async function checkStated(instance: Instance, batch: EntryBatch): Promise<void> {
  const { statedCrc32c: stated } = batch;
  if (stated === undefined || stated.every((crc, i) => crc === crc32c(payloadAt(batch, i)))) return;
  // Read again, and checked by the reader, which knows where it lies.
  for await (const again of instance.read(batch.firstIndex, lastIndexOf(batch))) void again;
  const reason = `a payload of ${batch.firstIndex}..${lastIndexOf(batch)} was read damaged`;
  throw fail('data.corrupt', { file: instance.uris.log, offset: 0, reason });
}
