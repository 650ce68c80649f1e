/**
 * Opens a replica's store by what its record says: the primary, with its mirror where dual write
 * has begun, recovered; and leaves a mirror that fails (DUAL-8).
 */
import { fail, hasCode } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type {
  BindingRecord,
  FormerMirror,
  InstanceRef,
  MirrorState,
} from '../schemas/binding-record.ts';
import { stampNamed } from '../storage/binding/generation-stamp.ts';
import { sameUris, urisNow } from '../storage/binding/parking.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import type { Instance, InstanceUris } from '../storage/contracts.ts';
import { GroupCommit } from '../storage/replication/group-commit.ts';
import { openPair, type Pair } from '../storage/replication/open-pair.ts';
import type { PairLatencies } from '../storage/replication/pair-engine.ts';
import { defaultWindow } from '../storage/replication/pair-window.ts';
import { requireAcknowledged } from '../storage/replication/plan-recovery.ts';
import { Watermark } from '../storage/replication/watermark.ts';
import type { ServedReplicaOptions } from './served-replica.ts';

/** A replica's store while it is open. */
export interface OpenStore extends Pair {
  readonly commits: GroupCommit;
}

export interface Opening {
  readonly record: BindingRecord;
  readonly latencies: PairLatencies;
  /** The store that stood here before, closed; null: there was none. */
  readonly before: OpenStore | null;
}

/** @throws what opening an instance throws, `pair.below-watermark`, `pair.diverged` */
export async function openStore(
  store: RecordStore,
  options: ServedReplicaOptions,
  { record, latencies, before }: Opening,
): Promise<OpenStore> {
  const { files, families, policy } = options;
  const window = record.mirror?.window ?? defaultWindow;
  const limitsOf = (ref: InstanceRef) => families.familyOf(ref.uris).limits;
  const primary = await openRef(options, record.primary);
  let mirror: Instance | null = null;
  try {
    // A kill may have come between the record and them (CUT-2).
    const alone = { ...record, mirror: null };
    if (record.generation > 0) await stampNamed({ files, families, record: alone });
    const watermark = await Watermark.open(files, store.directory.watermark);
    const ref = record.mirror?.stage === 'dual' ? record.mirror.ref : null;
    const isLate = before?.engine.mirrorIsLate === true;
    mirror = ref && (await openMirror(store, options, { ref, record, primary, watermark, isLate }));
    const pair = await openPair({
      primary,
      mirror,
      limits: {
        primary: limitsOf(record.primary),
        mirror: mirror === null || ref === null ? null : limitsOf(ref),
      },
      watermark,
      window,
      isLive: true,
      policy,
      latencies,
      ...(before && { leftBefore: before.engine.leftIsClosed }),
      detached: (cause, left) => leaveMirror(store, options, { uris: left.uris, cause }),
    });
    return { ...pair, commits: new GroupCommit(pair.instance, window) };
  } catch (error) {
    await mirror?.close().catch(() => {});
    await primary.close().catch(() => {});
    throw error;
  }
}

function openRef({ files, families }: ServedReplicaOptions, ref: InstanceRef): Promise<Instance> {
  return families.open(urisNow(families, ref), 'read-write', { files });
}

/**
 * Null when it cannot be opened and the policy is to go on without it (DUAL-8).
 * @throws `pair.below-watermark` when it cannot be opened and is the one that holds what was
 *   acknowledged: then it stays the mirror
 */
async function openMirror(
  store: RecordStore,
  options: ServedReplicaOptions,
  at: {
    ref: InstanceRef;
    record: BindingRecord;
    primary: Instance;
    watermark: Watermark;
    /** This process has it open still: it has not returned from what it was given. */
    isLate: boolean;
  },
): Promise<Instance | null> {
  const { ref, record, primary, watermark, isLate } = at;
  const { files, families, policy } = options;
  let mirror: Instance | null = null;
  try {
    if (isLate) throw lateMirror(ref);
    mirror = await openRef(options, ref);
    await stampNamed({ files, families, record });
    return mirror;
  } catch (error) {
    await mirror?.close().catch(() => {});
    // Another process that holds it may be a host like this one: that is no failure of it.
    const isFailure = isLate || !hasCode(error, 'instance.locked');
    if (policy.onFailure === 'fail' || !isFailure) throw error;
    await requireAcknowledged(primary, watermark.state);
    const cause = error instanceof Error ? error : new Error(String(error));
    await leaveMirror(store, options, { uris: urisNow(families, ref), cause });
    return null;
  }
}

/** Nothing is given to it anew before it has returned from what it was given. */
function lateMirror({ uris }: InstanceRef): Error {
  const holder = 'this storage host, whose writes to it have not returned';
  return fail('instance.locked', { action: 'open', instance: uris.log, holder });
}

/**
 * Durable before the primary goes on alone: that mirror is stale from then on (I3). The stamp too:
 * a record from before, put back, would take it for a mirror again (CUT-2).
 */
async function leaveMirror(
  store: RecordStore,
  { by, log, files, families }: ServedReplicaOptions,
  { uris, cause }: { readonly uris: InstanceUris; readonly cause: Error },
): Promise<void> {
  const record = await store.locked(async ({ record: current, write, confirm }) => {
    const named = current?.mirror ? urisNow(families, current.mirror.ref) : null;
    if (current === null || named === null || !sameUris(named, uris)) {
      // Left already, by another call that failed on it.
      await confirm();
      return current;
    }
    const { mirror, migration, generation } = current;
    const tag = migration?.id ?? `g${generation}`;
    const event = mirror?.wasPrimary === true ? 'rollback-target-lost' : 'mirror-detached';
    const former = mirror && { ...leftOf(mirror), tag, next: 'keep' as const, why: cause.message };
    const details = { mirror: uris, cause: cause.message };
    const next = { ...current, mirror: null, former, generation: generation + 1 };
    return write({ next, audit: { event, by, details } });
  });
  if (record !== null) await stampNamed({ files, families, record });
  const alarm = record?.former?.alarm;
  const name = replicaText(store.replica);
  const line = `${name} goes on without its mirror${alarm ? ` (alarm: ${alarm})` : ''}: ${cause.message}`;
  log(line, { replica: name, alarm: alarm ?? null }, alarm ? 'error' : 'warn');
}

/** After a cutover it was what a rollback needs. */
function leftOf({ ref, wasPrimary }: MirrorState): Omit<FormerMirror, 'tag' | 'next' | 'why'> {
  return { ref, wasPrimary, ...(wasPrimary && { alarm: 'rollback target lost' as const }) };
}
