/**
 * Pause and rate limit of a replica's bulk work (`control.json`): advisory, written by the control
 * activity, read again and again by whatever runs, in whichever process. A wish has an order, so
 * that one which comes late, from an attempt that was given up, changes nothing.
 */
import { z } from 'zod';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import type { RateLimit } from '../image/rate-limit.ts';
import { readWhole, writeDurably } from '../files.ts';
import type { RecordStore } from './record-store.ts';
import type { ReplicaDirectory } from './replica-directory.ts';

/** A migration's lease, and what it has wished before under that. */
const orderSchema = z.strictObject({ lease: z.int().min(0), version: z.int().min(0) });

const controlSchema = z.strictObject({
  order: orderSchema,
  paused: z.boolean(),
  bytesPerSecond: z.number().min(1).nullable(),
});

export type BulkControl = z.infer<typeof controlSchema>;

const maxControlBytes = 4096;

/** How soon a wish is obeyed. */
const pollMs = 250;

/** The wish in force, as work that follows it sees it. */
export interface Pace {
  /** Changes while the work runs; 0 while it is paused. */
  readonly rateLimit: RateLimit;
  paused: boolean;
}

const noWish: BulkControl = {
  order: { lease: 0, version: 0 },
  paused: false,
  bytesPerSecond: null,
};

/** @throws `config.invalid` */
export async function readControl(
  files: FileLayer,
  directory: ReplicaDirectory,
): Promise<BulkControl> {
  const bytes = await readWhole(files, directory.control, maxControlBytes);
  if (bytes === null) return noWish;
  try {
    return controlSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    const reason =
      'it must be {"order": {"lease": number, "version": number}, "paused": boolean, "bytesPerSecond": number or null}';
    throw fail('config.invalid', { file: directory.control, reason }, { cause });
  }
}

/** Puts the wish in force, durably, unless one of a later order is there. */
export async function writeControl(store: RecordStore, wish: BulkControl): Promise<void> {
  const { files, directory } = store;
  await store.locked(async () => {
    // A file that cannot be read holds no wish that anyone could follow.
    const present = await readControl(files, directory).catch(() => noWish);
    if (isBefore(wish.order, present.order)) return;
    await writeDurably(files, directory.control, Buffer.from(`${JSON.stringify(wish)}\n`));
  });
}

function isBefore(a: BulkControl['order'], b: BulkControl['order']): boolean {
  return a.lease < b.lease || (a.lease === b.lease && a.version < b.version);
}

/** Runs `work` at the pace that the file says, whatever it says meanwhile. */
export async function withPace<T>(
  files: FileLayer,
  directory: ReplicaDirectory,
  work: (pace: Pace) => Promise<T>,
): Promise<T> {
  const pace: Pace = { rateLimit: { bytesPerSecond: null }, paused: false };
  const follow = async () => {
    const { paused, bytesPerSecond } = await readControl(files, directory);
    pace.paused = paused;
    pace.rateLimit.bytesPerSecond = paused ? 0 : bytesPerSecond;
  };
  await follow();
  const timer = setInterval(() => {
    // A file that cannot be read leaves the last wish in force.
    follow().catch(() => {});
  }, pollMs);
  try {
    return await work(pace);
  } finally {
    clearInterval(timer);
  }
}
