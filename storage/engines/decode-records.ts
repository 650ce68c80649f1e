/**
 * Reads the records of engine-records.ts. A file of its own, imported by who has records to read:
 * zod takes a tenth of a second to load, which an import into a new database need not wait for.
 */
import { z } from 'zod';

import { fail } from '../../core/errors.ts';
import type { SnapshotRecord } from '../snapshot-tree.ts';
import type { EngineState, StagingCheckpoint } from './engine-records.ts';

const int64 = z
  .string()
  .regex(/^-?\d{1,19}$/)
  .transform(BigInt);
const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
const auxiliary = z.array(z.tuple([z.string(), bytes])).transform((pairs) => new Map(pairs));

const rangeSchema = z.object({ first: int64, last: int64 });
const metaSchema = z.object({ term: int64, votedFor: bytes.nullable(), auxiliary });
const snapshotSchema = z.object({
  id: z.int(),
  meta: z.object({
    lastIncludedIndex: int64,
    lastIncludedTerm: int64,
    peers: z.array(z.string()),
    oldPeers: z.array(z.string()),
    auxiliary,
  }),
  files: z.array(
    z.object({ path: z.string(), bytes: z.int(), crc32: z.int(), userMeta: bytes.nullable() }),
  ),
});
const preparedSchema = z.object({ tag: z.string(), record: snapshotSchema });
const progressSchema = z.object({
  firstIndex: int64,
  lastIndex: int64,
  note: z.record(z.string(), z.unknown()),
});
const checkpointSchema = z.object({
  range: rangeSchema,
  meta: metaSchema,
  snapshot: snapshotSchema.nullable(),
  progress: progressSchema,
});

/** @throws `data.corrupt` naming the record */
export function decodeState(file: string, records: ReadonlyMap<string, Buffer>): EngineState {
  const stored = records.get('snapshot');
  return {
    range: decode(file, { name: 'range', stored: records.get('range'), schema: rangeSchema }),
    meta: decode(file, { name: 'meta', stored: records.get('meta'), schema: metaSchema }),
    snapshot:
      stored === undefined
        ? null
        : decode(file, { name: 'snapshot', stored, schema: snapshotSchema }),
  };
}

/** @throws `data.corrupt` */
export function decodeCheckpoint(file: string, stored: Buffer): StagingCheckpoint {
  return decode(file, { name: 'checkpoint', stored, schema: checkpointSchema });
}

/** @throws `data.corrupt` */
export function decodePreparedTree(
  file: string,
  stored: Buffer,
): { readonly tag: string; readonly record: SnapshotRecord } {
  return decode(file, { name: 'prepared', stored, schema: preparedSchema });
}

function decode<Output>(
  file: string,
  record: { name: string; stored: Buffer | undefined; schema: z.ZodType<Output> },
): Output {
  const { name, stored, schema } = record;
  try {
    return schema.parse(JSON.parse(stored?.toString('utf8') ?? 'null'));
  } catch (cause) {
    const reason = `its record "${name}" does not have the form of its format`;
    throw fail('data.corrupt', { file, offset: 0, reason }, { cause });
  }
}
