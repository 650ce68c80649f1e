import { crc32c } from '@node-rs/crc32';
import { describe, expect, test } from 'vitest';

import type { Instance } from '../../storage/contracts.ts';
import { compareInstances, type Comparison } from '../../storage/equivalence/compare.ts';
import {
  directoryOf,
  flipped,
  inProgress,
  logMeta1,
  record,
  records,
} from '../local/braft-files.ts';
import { errorOf, open, raftMeta7 } from '../local/opening.ts';

const intact = records(300);

async function logOf(segment: Uint8Array): Promise<Instance> {
  const meta = { ...logMeta1, 'raft_meta/raft_meta': raftMeta7 };
  return open(await directoryOf({ ...meta, [inProgress(1)]: segment }));
}

async function compared(a: Uint8Array, b: Uint8Array): Promise<Comparison> {
  return compareInstances(await logOf(a), await logOf(b));
}

/** A record whose header is whole, and states a checksum that is not its payload's. */
function wronglyStated(): Buffer {
  const bytes = record();
  bytes.writeUInt32BE((bytes.readUInt32BE(16) ^ 1) >>> 0, 16);
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 20)), 20);
  return bytes;
}

const damages = {
  'a payload is damaged': flipped(intact, -1),
  'the checksum of an equal payload is another': Buffer.concat([
    intact.subarray(0, intact.length - record().length),
    wronglyStated(),
  ]),
};

describe.each(Object.entries(damages))('%s: the comparison is refused [EQ-3]', (_name, damaged) => {
  const refused = { code: 'data.corrupt', details: expect.objectContaining({ offset: '9269' }) };

  test('on side a', async () => {
    expect(await errorOf(compared(damaged, intact))).toMatchObject(refused);
  });

  test('on side b', async () => {
    expect(await errorOf(compared(intact, damaged))).toMatchObject(refused);
  });

  test('beyond the end of the other', async () => {
    const shorter = intact.subarray(0, 100 * record().length);
    expect(await errorOf(compared(shorter, damaged))).toMatchObject(refused);
  });
});

test('an intact entry that differs is a difference, not damage [EQ-4]', async () => {
  const other = Buffer.concat([intact.subarray(0, 9269), record({ payload: 'another' })]);
  const comparison = await compared(intact, other);
  expect(comparison).toMatchObject({ equal: false, report: { differences: [{ index: '300' }] } });
});

test('checksums of two kinds: equal entries are equal', async () => {
  expect(await compared(intact, records(300, { kind: 0 }))).toMatchObject({ equal: true });
});
