/** What operators and agents are told of a replica. */
import { assert } from '../core/errors.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import type { HostActivity } from './host-activity.ts';
import type { HostedReplicas } from './hosted-replicas.ts';
import type { HostStatus, ReplicaStatus } from './proto/gen/storage_host_admin.ts';
import { adviceFor, type Advice } from './replica-advice.ts';
import type { ServedReplica } from './served-replica.ts';

export function replicaStatuses(hosted: HostedReplicas): Promise<ReplicaStatus[]> {
  return Promise.all(
    [...hosted.all].map(([name, served]) => {
      const refusal = served instanceof Error ? served : served.refusal;
      if (refusal !== null) return refusedStatus(hosted, name, refusal);
      assert(!(served instanceof Error), 'what is refused has a reason');
      return servedStatus(name, served);
    }),
  );
}

/** Of one that is refused: what its record says, where that can be read. */
async function refusedStatus(
  hosted: HostedReplicas,
  name: string,
  refusal: Error,
): Promise<ReplicaStatus> {
  const record = await hosted
    .recordOf(name)
    .read()
    .catch(() => null);
  const advice = adviceFor({ name, record, refusal, holdsProof: false });
  const named = record === null ? {} : recordParts(record);
  return { ...nothingServed, ...named, ...advice, replica: name, refusal: refusal.message };
}

function recordParts(record: BindingRecord) {
  const { generation, primary, mirror, former, migration } = record;
  return {
    generation: BigInt(generation),
    primary: { family: '', logUri: primary.uris.log },
    mirror: mirror ? { family: '', logUri: mirror.ref.uris.log } : undefined,
    mirrorWasPrimary: mirror?.wasPrimary ?? false,
    stage: mirror?.stage ?? '',
    former: former ? { ...former, logUri: former.ref.uris.log } : undefined,
    migrationId: migration?.id ?? '',
    migrationPhase: migration?.phase ?? '',
  };
}

async function servedStatus(name: string, served: ServedReplica): Promise<ReplicaStatus> {
  const { record, state, epoch, appendedEntries } = await served.status();
  const { primary, mirror } = served.mirror.sides;
  const holdsProof = served.mirror.holdsProof(record);
  const named = recordParts(record);
  return {
    ...named,
    ...adviceFor({ name, record, refusal: null, holdsProof }),
    replica: name,
    refusal: '',
    epoch,
    primary: { family: primary.family, logUri: primary.uris.log },
    mirror: named.mirror && { ...named.mirror, family: mirror?.family ?? '' },
    firstIndex: state.firstIndex,
    lastIndex: state.lastIndex,
    term: state.meta.term,
    snapshotIndex: state.snapshot?.lastIncludedIndex ?? 0n,
    appendedEntries,
    validation: validationOf(served),
    ...latenciesOf(served),
  };
}

function validationOf({ mirror }: ServedReplica) {
  const last = mirror.lastValidation;
  return last === null ? undefined : { ...last, bytesRead: BigInt(last.bytesRead) };
}

function latenciesOf(served: ServedReplica) {
  const { append, mirror, lag } = served.latencies();
  return {
    appendP50Ms: append.p50Ms,
    appendP99Ms: append.p99Ms,
    mirrorP99Ms: mirror.p99Ms,
    mirrorLagP99Ms: lag.p99Ms,
    hasSession: served.hasSession,
    entriesPerSecond: served.entriesPerSecond,
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

const nothingServed: Omit<ReplicaStatus, 'replica' | 'refusal' | keyof Advice> = {
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
  validation: undefined,
  appendP50Ms: 0,
  appendP99Ms: 0,
  mirrorP99Ms: 0,
  mirrorLagP99Ms: 0,
  hasSession: false,
  entriesPerSecond: 0,
};
