/** The admin protocol's calls (host/proto/storage_host_admin.proto), each handed to its replica. */
import { fail } from '../core/errors.ts';
import { parseReplica } from '../core/ids.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { TransferProgress } from '../storage/image/state-stream.ts';
import { answered, streamed } from './answers.ts';
import { findReplica, type ServedReplicas } from './host-calls.ts';
import type { ReplicaStatus, StorageHostAdminServer } from './proto/gen/storage_host_admin.ts';
import type { ServedReplica } from './served-replica.ts';
import { send } from './snapshot-streams.ts';

export interface AdminOptions {
  readonly replicas: ServedReplicas;
  readonly families: FamilyRegistry;
}

export function storageHostAdminCalls({
  replicas,
  families,
}: AdminOptions): StorageHostAdminServer {
  const find = (replica: string) => findReplica(replicas, parseReplica(replica));
  return {
    list: answered(async () => ({
      replicas: await Promise.all([...replicas].map(([name, served]) => statusOf(name, served))),
    })),
    mirror: streamed(async (call) => {
      const { replica, uri, bytesPerSecond } = call.request;
      const { mirror } = find(replica);
      const limit = bytesPerSecond === 0n ? null : Number(bytesPerSecond);
      const gone = new AbortController();
      call.once('cancelled', () => gone.abort(clientGone()));
      const options = {
        rateLimit: { bytesPerSecond: limit },
        signal: gone.signal,
        onProgress: (progress: TransferProgress) => void send(call, progressMessage(progress)),
      };
      await mirror.inTurn(async () => {
        await mirror.begin(families.expand(uri));
        await mirror.bootstrap(options);
      });
    }),
    prove: answered(async ({ replica }) => {
      const { mirror } = find(replica);
      const { source, cut } = await mirror.inTurn(() => mirror.prove());
      const { firstIndex, lastIndex } = cut;
      const range = { firstIndex: BigInt(firstIndex), lastIndex: BigInt(lastIndex) };
      return { digest: source.digest, ...range };
    }),
    cutOver: answered(async ({ replica }) => {
      const { mirror } = find(replica);
      const pauseMs = await mirror.inTurn(() => mirror.cutOver());
      return { pauseMs, primaryLogUri: mirror.sides.primary.uris.log };
    }),
    finalize: answered(async ({ replica }) => {
      const { mirror } = find(replica);
      const retired = await mirror.inTurn(() => mirror.finalize());
      return { retiredLogUri: retired?.uris.log ?? '' };
    }),
    drop: answered(async ({ replica }) => {
      const { mirror } = find(replica);
      await mirror.inTurn(() => mirror.drop());
      return {};
    }),
  };
}

function clientGone(): Error {
  return fail('session.invalid-request', { reason: 'whoever asked for the copy has gone' });
}

function progressMessage({ phase, entriesDone, entriesTotal, bytesDone }: TransferProgress) {
  const counts = [entriesDone, entriesTotal, bytesDone].map(BigInt) as [bigint, bigint, bigint];
  return { phase, entriesDone: counts[0], entriesTotal: counts[1], bytesDone: counts[2] };
}

async function statusOf(name: string, served: ServedReplica | Error): Promise<ReplicaStatus> {
  if (served instanceof Error) return { ...nothingServed, replica: name, refusal: served.message };
  const { record, state, epoch, appendedEntries } = await served.status();
  const { primary, mirror } = served.mirror.sides;
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
    stage: record.mirror?.stage ?? '',
    firstIndex: state.firstIndex,
    lastIndex: state.lastIndex,
    term: state.meta.term,
    snapshotIndex: state.snapshot?.lastIncludedIndex ?? 0n,
    appendedEntries,
  };
}

const nothingServed: Omit<ReplicaStatus, 'replica' | 'refusal'> = {
  epoch: 0n,
  generation: 0n,
  primary: undefined,
  mirror: undefined,
  stage: '',
  firstIndex: 0n,
  lastIndex: 0n,
  term: 0n,
  snapshotIndex: 0n,
  appendedEntries: 0n,
};
