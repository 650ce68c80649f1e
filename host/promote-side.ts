/**
 * A replica goes on from one side of its pair alone (DUAL-5, CUT-5): an operator's decision, about
 * a primary that is gone or damaged, or about sides that recovery refuses to make equal.
 *
 * What makes it safe without a comparison: the record says that the side was in dual write to the
 * last, so that nothing was acknowledged without it; it holds the watermark; and its stamp says
 * that it is this very instance. The other side is not touched. It never becomes primary again: the
 * record names it as left, and a record from before, put back, is refused by the promoted side's
 * newer stamp.
 */
import { fail } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { BindingRecord, FormerMirror, InstanceRef } from '../schemas/binding-record.ts';
import { requireNotNewer, stampNamed, stampOf } from '../storage/binding/generation-stamp.ts';
import { urisNow } from '../storage/binding/parking.ts';
import { RecordStore } from '../storage/binding/record-store.ts';
import { requireAcknowledged, type Side } from '../storage/replication/plan-recovery.ts';
import { Watermark, type WatermarkState } from '../storage/replication/watermark.ts';
import { lockReplica, type ServedReplicaOptions } from './served-replica.ts';

export interface Promotion {
  readonly side: Side;
  /** For the audit trail: who wants it, and why. */
  readonly by: string;
  readonly reason: string;
}

/**
 * How far a side's stamp may lie behind the record: a migration that takes the replica raises the
 * generation, and so does a change whose stamps a crash cut off. One that was left lies behind by
 * three at least when a pair is named again.
 */
const mostBehind = 2;

/**
 * Nobody serves the replica. Durable when resolved: the journal's line, then the record, then the
 * stamp. A migration that owns it ends with it, as abandoned.
 * @returns where the primary lies now
 * @throws `promotion.refused`, `pair.below-watermark`, `record.stamp-newer`, what opening the side
 *   throws: nothing has changed then; `instance.locked`
 */
export async function promoteSide(
  options: ServedReplicaOptions,
  promotion: Promotion,
): Promise<InstanceRef> {
  const { files, families, stateDir, replica } = options;
  const store = new RecordStore({ files, stateDir, replica, now: () => new Date() });
  const lock = await lockReplica(store);
  try {
    const before = await store.read();
    const sides = sidesOf(store, promotion, before);
    const held = await requireHolds(store, options, { ...sides, promotion });
    const written = await store.locked(async ({ record, write }) => {
      if (record?.revision !== sides.record.revision) {
        throw refused(store, promotion, 'its record must not change meanwhile: it has');
      }
      const { side, by, reason } = promotion;
      const details = { side, reason, left: sides.other.uris, watermark: textOf(held) };
      const ended = endedWith(record, { promotion, at: store.now() });
      const next = promoted({ ...record, ...ended.record }, { ...sides, promotion });
      return write({
        next,
        audit: { event: 'promote', by, details: { ...details, ...ended.note } },
      });
    });
    await stampNamed({ files, families, record: written });
    return written.primary;
  } finally {
    await lock.release();
  }
}

interface Sides {
  readonly record: BindingRecord;
  readonly chosen: InstanceRef;
  readonly other: InstanceRef;
  readonly otherWasPrimary: boolean;
}

/** @throws `promotion.refused` */
function sidesOf(store: RecordStore, promotion: Promotion, record: BindingRecord | null): Sides {
  if (record === null) throw refused(store, promotion, 'it must have a record: it has none');
  const { primary, mirror, migration } = record;
  if (migration !== null && migration.mode === 'stopped') {
    const actual = `${migration.id} holds it stopped, in phase ${migration.phase}`;
    throw refused(store, promotion, `its storage host must move it: ${actual}`);
  }
  if (mirror?.stage !== 'dual') {
    const stage = mirror === null ? 'it has no mirror' : 'its mirror is still being made';
    throw refused(store, promotion, `it must have been written to both to the last: ${stage}`);
  }
  if (promotion.side === 'primary') {
    return { record, chosen: primary, other: mirror.ref, otherWasPrimary: mirror.wasPrimary };
  }
  return { record, chosen: mirror.ref, other: primary, otherWasPrimary: true };
}

/** That the chosen side is the instance that the record means, and holds what was acknowledged. */
async function requireHolds(
  store: RecordStore,
  { files, families, replica }: ServedReplicaOptions,
  { record, chosen, promotion }: Sides & { readonly promotion: Promotion },
): Promise<WatermarkState> {
  const uris = urisNow(families, chosen);
  await requireNotNewer({ files, families, replica, record, named: [uris] });
  const hasPlaces = families.familyOf(uris).places(uris).length > 0;
  const stamp = await stampOf({ files, families, uris });
  const oldest = record.generation - mostBehind;
  const isItself = stamp?.replica === replicaText(replica) && stamp.generation >= oldest;
  if (hasPlaces && !isItself) {
    const found =
      stamp === null ? 'it has none' : `it is ${stamp.replica}'s of generation ${stamp.generation}`;
    const wanted = `its stamp must be ${replicaText(replica)}'s of generation ${record.generation}`;
    throw refused(store, promotion, `${wanted}: ${found}`);
  }
  const { state } = await Watermark.open(files, store.directory.watermark);
  const instance = await families.open(uris, 'read-write', { files });
  try {
    await requireAcknowledged(instance, state);
  } finally {
    await instance.close();
  }
  return state;
}

function promoted(
  record: BindingRecord,
  { chosen, other, otherWasPrimary, promotion }: Sides & { readonly promotion: Promotion },
): BindingRecord {
  const former: FormerMirror = {
    ref: other,
    wasPrimary: otherWasPrimary,
    tag: `g${record.generation}`,
    next: 'keep',
    why: `given up by ${promotion.by}: ${promotion.reason}`,
    ...(promotion.side === 'mirror' && { alarm: 'primary lost' as const }),
  };
  return { ...record, primary: chosen, mirror: null, former, generation: record.generation + 1 };
}

/** The migration needs both sides: it is over, and its workflow learns so by the higher lease. */
function endedWith(
  { migration, lease, token }: BindingRecord,
  { promotion, at }: { readonly promotion: Promotion; readonly at: string },
) {
  if (migration === null) return { record: {}, note: {} };
  const { id, inputDigest, leftAside, phase } = migration;
  const { reason } = promotion;
  const result = 'abandoned' as const;
  const info = { reason };
  const last = {
    step: token.step,
    did: phase,
    next: 'ended' as const,
    outcome: 'lost' as const,
    info,
  };
  const lastEnded = { id, inputDigest, result, last, leftAside, at };
  const note = { endedMigration: id, inputDigest, result, leftAside };
  const raised = { lease: lease + 1, token: { lease: lease + 1, step: token.step, attempt: 0 } };
  return { record: { migration: null, lastEnded, ...raised }, note };
}

function textOf({ index, term }: WatermarkState) {
  return { index: index.toString(), term: term.toString() };
}

function refused(store: RecordStore, { side }: Promotion, actual: string): Error {
  return fail('promotion.refused', { replica: replicaText(store.replica), side, actual });
}
