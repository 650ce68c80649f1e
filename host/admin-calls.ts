/** The admin protocol's calls (host/proto/storage_host_admin.proto), each handed to its replica. */
import type { ServerWritableStream } from '@grpc/grpc-js';

import { fail } from '../core/errors.ts';
import { parseReplica } from '../core/ids.ts';
import { isPhase } from '../core/phases.ts';
import { withPace } from '../storage/binding/control-file.ts';
import type { StepClaim } from '../storage/binding/step-guard.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { RateLimit } from '../storage/image/rate-limit.ts';
import type { TransferOptions, TransferProgress } from '../storage/image/state-stream.ts';
import { guardingAppends, type AppendGuardLimits } from './append-guard.ts';
import { answered, streamed } from './answers.ts';
import type { HostActivity } from './host-activity.ts';
import { findReplica } from './host-calls.ts';
import type { HostedReplicas } from './hosted-replicas.ts';
import type { Caller } from './mirror-caller.ts';
import type * as wire from './proto/gen/storage_host_admin.ts';
import { hostStatus, replicaStatuses } from './replica-status.ts';
import type { ServedReplica } from './served-replica.ts';
import { send } from './snapshot-streams.ts';

export interface AdminOptions {
  readonly hosted: HostedReplicas;
  readonly families: FamilyRegistry;
  readonly activity: HostActivity;
  readonly appendGuard: AppendGuardLimits | null;
}

export function storageHostAdminCalls({
  hosted,
  families,
  activity,
  appendGuard,
}: AdminOptions): wire.StorageHostAdminServer {
  const find = (replica: string) => findReplica(hosted.all, parseReplica(replica));
  return {
    list: answered(async () => ({
      replicas: await replicaStatuses(hosted),
      host: hostStatus(activity),
    })),
    mirror: streamed(async (call) => {
      const { replica, uri, uris, bytesPerSecond } = call.request;
      const served = find(replica);
      const { mirror } = served;
      const caller = callerOf(call.request.caller);
      const target = uris === undefined ? families.expand(uri) : instanceUris(uris);
      const byHand = bytesPerSecond === 0n ? null : Number(bytesPerSecond);
      // Whoever does not read it misses it: the copy does not wait, and fails by itself.
      const report = (progress: TransferProgress) =>
        void send(call, progressMessage(progress)).catch(() => {});
      await mirror.inTurn(() =>
        asBulkWork(served, { call, caller, byHand, report, appendGuard }, async (options) => {
          await mirror.begin(target, caller);
          await mirror.bootstrap(options, caller);
        }),
      );
    }),
    prove: streamed(async (call) => {
      const { replica, readWithinSeconds = null } = call.request;
      const served = find(replica);
      const { mirror } = served;
      const caller = callerOf(call.request.caller);
      const report = (progress: TransferProgress) =>
        void send(call, { progress: progressMessage(progress), proof: undefined }).catch(() => {});
      const { proof, file, bytesRead } = await mirror.inTurn(() =>
        asBulkWork(served, { call, caller, byHand: null, report, appendGuard }, (options) =>
          mirror.prove({ ...options, readWithinSeconds }, caller),
        ),
      );
      const { source, cut, generation, createdAt, readSince = createdAt } = proof;
      const message: wire.Proof = {
        digest: source.digest,
        firstIndex: BigInt(cut.firstIndex),
        lastIndex: BigInt(cut.lastIndex),
        generation: BigInt(generation),
        file,
        readSince,
        bytesRead: BigInt(bytesRead),
      };
      await send(call, { progress: undefined, proof: message });
    }),
    cutOver: answered(async ({ replica, caller, digest }) => {
      const { mirror } = find(replica);
      const on = digest === '' ? undefined : digest;
      const pauseMs = await mirror.inTurn(() => mirror.cutOver(on, callerOf(caller)));
      return { pauseMs, primaryLogUri: mirror.sides.primary.uris.log };
    }),
    finalize: answered(async ({ replica, caller, deletes }) => {
      const { mirror } = find(replica);
      const options = { deletes };
      return { retired: await mirror.inTurn(() => mirror.finalize(options, callerOf(caller))) };
    }),
    promote: answered(async ({ replica, caller, reason, primary }) => {
      const { by, claim } = callerOf(caller);
      if (claim !== null || reason === '') {
        const why = 'a side is promoted by an operator, who says why';
        throw fail('session.invalid-request', { reason: why });
      }
      const side = primary ? 'primary' : 'mirror';
      const { uris } = await hosted.promote(replica, { side, by, reason });
      return { primaryLogUri: uris.log };
    }),
    drop: answered(async ({ replica, caller }) => {
      const { mirror } = find(replica);
      await mirror.inTurn(() => mirror.drop(callerOf(caller)));
      return {};
    }),
  };
}

/**
 * Work that ends with the call that asked for it, and makes room for the replica's appends; a
 * migration's keeps its control file's pace.
 */
async function asBulkWork<Result>(
  served: ServedReplica,
  asked: {
    readonly call: ServerWritableStream<unknown, unknown>;
    readonly caller: Caller;
    /** Bytes per second of an operator's; null is no limit. */
    readonly byHand: number | null;
    readonly report: (progress: TransferProgress) => void;
    readonly appendGuard: AppendGuardLimits | null;
  },
  work: (options: TransferOptions) => Promise<Result>,
): Promise<Result> {
  const { call, caller, byHand, report, appendGuard: limits } = asked;
  const gone = new AbortController();
  const reason = 'whoever asked for it has gone';
  const end = () => gone.abort(fail('session.invalid-request', { reason }));
  if (call.cancelled) end();
  call.once('cancelled', end);
  const options = { signal: gone.signal, onProgress: report };
  gone.signal.throwIfAborted();
  const atRate = (rateLimit: RateLimit) =>
    guardingAppends(served.appends, { limits, given: { ...options, rateLimit } }, work);
  if (caller.claim === null) return atRate({ bytesPerSecond: byHand });
  return withPace(served.store.files, served.store.directory, ({ rateLimit }) => atRate(rateLimit));
}

/** @throws `session.invalid-request` */
function callerOf(caller: wire.Caller | undefined): Caller {
  const by = caller?.by ?? '';
  if (by === '') throw fail('session.invalid-request', { reason: 'it does not say who asks' });
  return { by, claim: caller?.claim === undefined ? null : claimOf(caller.claim) };
}

function claimOf({ migrationId, phase, lease, step, attempt }: wire.Claim): StepClaim {
  if (isPhase(phase)) return { migrationId, phase, token: { lease, step, attempt } };
  throw fail('session.invalid-request', { reason: `"${phase}" is no phase of a migration` });
}

function instanceUris({ log, meta, snapshot, groupId }: wire.InstanceUris): InstanceUris {
  return { log, meta, snapshot, ...(groupId !== '' && { groupId }) };
}

function progressMessage({ phase, entriesDone, entriesTotal, bytesDone }: TransferProgress) {
  const counts = [entriesDone, entriesTotal, bytesDone].map(BigInt) as [bigint, bigint, bigint];
  return { phase, entriesDone: counts[0], entriesTotal: counts[1], bytesDone: counts[2] };
}
