/** Takes the replica for a workflow, or tells what its record says. */
import { fail } from '../core/errors.ts';
import { requireNotNewer } from '../storage/binding/generation-stamp.ts';
import { namingAlone, requireUnnamed } from '../storage/binding/named-instances.ts';
import { readControl } from '../storage/binding/control-file.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import { firstLease, ownReplica } from '../storage/binding/replica-lease.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import { inputDigest } from '../schemas/input-digest.ts';
import {
  checkAddressee,
  presentView,
  recordStore,
  viewOf,
  type AgentContext,
} from './agent-context.ts';
import { checkRoots } from './allowed-roots.ts';
import { modeOf } from './ask-storage-host.ts';
import type {
  Addressee,
  BindingView,
  ControlWish,
  OwnActivityRequest,
  OwnAnswer,
} from './contract.ts';

/**
 * @throws `migration.conflict`, `record.conflict`, `record.superseded`, `record.stamp-newer`, `path.not-allowed`
 */
export async function own(context: AgentContext, request: OwnActivityRequest): Promise<OwnAnswer> {
  const { input, agentId } = request;
  checkAddressee(context, { ...input, agentId });
  await checkRoots(context, [input.source, input.target]);
  if (inputDigest(input) !== request.inputDigest) {
    throw fail('migration.conflict', {
      migration: input.migrationId,
      actual: 'the digest given is not that of the input given',
    });
  }
  const store = recordStore(context, input);
  const { files, families } = context;
  const { replica, source, target } = input;
  const record = await store.read();
  await requireNotNewer({ files, families, replica, record, named: [source, target] });
  const owned = await ownReplica(store, {
    ...request,
    mode: await modeOf(context, input),
    naming: (write) =>
      namingAlone(files, context.config.stateDir, async () => {
        await requireFree(context, input);
        return write();
      }),
  });
  if (owned.kind === 'ended') return owned;
  const control = await wishOf(store, input.migrationId);
  return { kind: 'owned', view: viewOf(owned.record, input.migrationId), control };
}

/**
 * Pause and limit that a run before this one left with the machine; null where it has none of this
 * migration. The file may still hold those of a migration before, whose leases are smaller.
 */
async function wishOf(store: RecordStore, migrationId: string): Promise<ControlWish | null> {
  const { files, directory } = store;
  // A file that cannot be read holds no wish that anyone could follow.
  const wish = await readControl(files, directory).catch(() => null);
  if (wish === null || wish.order.lease < (await firstLease(store, migrationId))) return null;
  const { paused, bytesPerSecond } = wish;
  return { paused, bytesPerSecond };
}

/** Source and target belong to no other replica. @throws `instance.named-by-record` */
export async function requireFree(context: AgentContext, input: MigrationInput): Promise<void> {
  const { files, families } = context;
  const { stateDir } = context.config;
  for (const uris of [input.source, input.target]) {
    await requireUnnamed({ families, files, stateDir, uris, except: input.replica });
  }
}

export async function readBinding(
  context: AgentContext,
  request: Addressee,
): Promise<BindingView | null> {
  checkAddressee(context, request);
  const record = await recordStore(context, request).read();
  return record && presentView(record);
}
