/** Asks an agent what a migration would find; changes nothing. */
import type { Finding } from '../activities/contract.ts';
import { contractVersion } from '../core/ids.ts';
import { firstPhase, nextPhase, type MigrationMode, type Phase } from '../core/phases.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import { agentCalls } from './agent-calls.ts';

export interface PlanAnswer {
  readonly agentId: string;
  readonly findings: readonly Finding[];
  readonly entries: string;
  readonly bytes: number;
  readonly mode: MigrationMode;
  /** The steps of a start, in order. */
  readonly steps: readonly Phase[];
}

export async function planReplica(input: MigrationInput): Promise<PlanAnswer> {
  const calls = agentCalls(input.host);
  const { agentId } = await calls.ask.ping();
  const request = { contractVersion, agentId, replica: input.replica, input };
  const { findings, entries, bytes, mode } = await calls.measure.preflight(request);
  const steps: Phase[] = [];
  for (let phase: Phase = firstPhase[mode]; phase !== 'ended';) {
    steps.push(phase);
    phase = nextPhase({ phase, direction: 'forward', mode }, 'done');
  }
  return { agentId, findings, entries, bytes, mode, steps };
}
