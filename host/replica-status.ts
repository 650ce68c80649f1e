/** What operators and agents are told of a served replica. */
import type { HostActivity } from './host-activity.ts';
import type { HostStatus, ReplicaStatus } from './proto/gen/storage_host_admin.ts';
import type { ServedReplica } from './served-replica.ts';

export async function replicaStatus(
  name: string,
  served: ServedReplica | Error,
): Promise<ReplicaStatus> {
  if (served instanceof Error) return { ...nothingServed, replica: name, refusal: served.message };
  const { record, state, epoch, appendedEntries } = await served.status();
  const { primary, mirror } = served.mirror.sides;
  const { former, migration } = record;
  return {
    replica: name,
    refusal: '',
    epoch,
    generation: BigInt(record.generation),
    primary: { family: primary.family, logUri: primary.uris.log },
    mirror:
      record.mirror === null
        ? undefined
        : { family: mirror?.family ?? '', logUri: record.mirror.ref.uris.log },
    mirrorWasPrimary: record.mirror?.wasPrimary ?? false,
    stage: record.mirror?.stage ?? '',
    former: former ? { ...former, logUri: former.ref.uris.log } : undefined,
    migrationId: migration?.id ?? '',
    migrationPhase: migration?.phase ?? '',
    firstIndex: state.firstIndex,
    lastIndex: state.lastIndex,
    term: state.meta.term,
    snapshotIndex: state.snapshot?.lastIncludedIndex ?? 0n,
    appendedEntries,
    ...latenciesOf(served),
  };
}

function latenciesOf(served: ServedReplica) {
  const { append, mirror, lag } = served.latencies();
  return {
    appendP50Ms: append.p50Ms,
    appendP99Ms: append.p99Ms,
    mirrorP99Ms: mirror.p99Ms,
    mirrorLagP99Ms: lag.p99Ms,
    hasSession: served.hasSession,
  };
}

export function hostStatus(activity: HostActivity): HostStatus {
  const { p50Ms, p99Ms, maxMs } = activity.eventLoopDelay;
  return {
    eventLoopP50Ms: p50Ms,
    eventLoopP99Ms: p99Ms,
    eventLoopMaxMs: maxMs,
    fileSyncs: BigInt(activity.fileSyncs),
    writeStreams: activity.writeStreams,
    snapshotStreams: activity.snapshotStreams,
  };
}

const nothingServed: Omit<ReplicaStatus, 'replica' | 'refusal'> = {
  epoch: 0n,
  generation: 0n,
  primary: undefined,
  mirror: undefined,
  mirrorWasPrimary: false,
  stage: '',
  former: undefined,
  migrationId: '',
  migrationPhase: '',
  firstIndex: 0n,
  lastIndex: 0n,
  term: 0n,
  snapshotIndex: 0n,
  appendedEntries: 0n,
  appendP50Ms: 0,
  appendP99Ms: 0,
  mirrorP99Ms: 0,
  mirrorLagP99Ms: 0,
  hasSession: false,
};
