/** What an agent's activities work with, and how one attempt of an activity shows itself. */
import { fail } from '../core/errors.ts';
import { contractVersion } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { AgentConfig } from '../schemas/agent-config.ts';
import type { StepRequest, Addressee, BindingView, StepProgress } from './contract.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import type { findHolders } from '../storage/binding/open-files.ts';
import { RecordStore } from '../storage/binding/record-store.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import type { MemberAdapters } from './raft-adapters/member-adapter.ts';

export interface AgentContext {
  readonly config: AgentConfig;
  /** Persisted uuid of this machine's agent. */
  readonly agentId: string;
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  /** Looks at the machine's processes, which know only the files of its own disk. */
  readonly findHolders: typeof findHolders;
  readonly now: () => Date;
  /** How members are asked: as the configuration says, or as a simulation does. */
  readonly memberAdapter: MemberAdapters;
  readonly log: Log;
}

/** One attempt: its number, counted from 1, and its line to whoever waits for it. */
export interface Attempt {
  readonly attempt: number;
  /**
   * By which another process may tell Temporal that this attempt has died; see orphaned-attempts.
   */
  readonly taskToken: Uint8Array;
  readonly signal: AbortSignal;
  heartbeat(progress: StepProgress): void;
}

export function recordStore(
  context: AgentContext,
  request: Pick<Addressee, 'replica'>,
): RecordStore {
  const { files, config, now } = context;
  return new RecordStore({ files, stateDir: config.stateDir, replica: request.replica, now });
}

/**
 * Refuses, before any effect, what is meant for another agent or speaks another contract.
 * @throws `agent.wrong-machine`, `agent.contract-version`
 */
export function checkAddressee(context: AgentContext, request: Addressee): void {
  if (request.agentId !== context.agentId) {
    throw fail('agent.wrong-machine', { wanted: request.agentId, actual: context.agentId });
  }
  if (request.contractVersion !== contractVersion) {
    throw fail('agent.contract-version', {
      supported: contractVersion,
      actual: request.contractVersion,
    });
  }
}

/** Of whichever migration the record names, owning it or ended last. */
export function presentView(record: BindingRecord): BindingView {
  return viewOf(record, record.migration?.id ?? record.lastEnded?.id ?? '');
}

export function viewOf(record: BindingRecord, migrationId: string): BindingView {
  const { migration, lastEnded, lease, generation, token } = record;
  const ended = migration === null && lastEnded?.id === migrationId;
  return {
    lease,
    generation,
    migrationId: migration?.id ?? null,
    phase: migration?.phase ?? (ended ? 'ended' : null),
    direction: migration?.direction ?? 'forward',
    mode: migration?.mode ?? 'stopped',
    step: token.step,
    proof: migration?.proof
      ? { digest: migration.proof.digest, generation: migration.proof.generation }
      : null,
    primary: { log: record.primary.uris.log, parkedTag: record.primary.parkedTag },
    rollingBack: migration ? migration.rollback !== null : lastEnded?.result === 'rolled-back',
    lastEnded: lastEnded?.id ?? null,
  };
}

export function claimOf(request: StepRequest, attempt: Attempt) {
  const { lease, step, migrationId } = request;
  return { migrationId, token: { lease, step, attempt: attempt.attempt } };
}
