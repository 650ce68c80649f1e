/**
 * Drives a replica's migration on one machine as its workflow and agent do, without Temporal: it
 * asks for the steps that the record waits for, one at a time, through the same functions.
 */
import { setImmediate as turn } from 'node:timers/promises';

import { quiet } from '../../core/log.ts';
import type { AgentContext, Attempt } from '../../activities/agent-context.ts';
import type { BindingView, StepAnswer } from '../../activities/contract.ts';
import { decideToGoForward, decideToRollBack } from '../../activities/decide.ts';
import { own, readBinding } from '../../activities/own.ts';
import { stepBodies } from '../../activities/step-bodies.ts';
import { runStep } from '../../activities/step-runner.ts';
import { contractVersion } from '../../core/ids.ts';
import { isStepPhase, type Phase } from '../../core/phases.ts';
import { agentConfigSchema } from '../../schemas/agent-config.ts';
import { inputDigest } from '../../schemas/input-digest.ts';
import { migrationInputSchema, type MigrationInput } from '../../schemas/migration.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import type { FileLayer } from '../../storage/file-layer.ts';

/** A few entries in each segment, so that a small log has several. */
export const families = new FamilyRegistry([
  createLocalFamily({ maxSegmentBytes: 300 }),
  memoryFamily,
]);

const agentId = '5f6c8c1e-6a53-4c56-9a57-1f1d0f0d2a01';

export const replica = { cluster: 'c1', member: 'm1' };

export function machineContext(
  files: FileLayer,
  options: { root?: string; families?: FamilyRegistry } = {},
): AgentContext {
  const { root = '' } = options;
  const config = { host: 'h1', stateDir: `${root}/state`, roots: [`${root}/data`] };
  return {
    config: agentConfigSchema.parse(config),
    agentId,
    files,
    families: options.families ?? families,
    // No process of this machine knows the files of a file system in memory.
    findHolders: async () => [],
    now: () => new Date(0),
    memberAdapter: () => null,
    log: quiet,
  };
}

export function migrationInput(
  migrationId: string,
  between: { source: InstanceUris; target: InstanceUris; deleteSource?: boolean },
): MigrationInput {
  const { source, target, deleteSource = false } = between;
  return migrationInputSchema.parse({
    contractVersion,
    migrationId,
    replica,
    host: 'h1',
    source,
    target,
    policy: { deleteSource },
    standalone: { by: 'tests', note: 'there is no other voter' },
    requestedBy: 'tests',
  });
}

export interface Scenario {
  readonly name: string;
  readonly input: MigrationInput;
  /** Asks for a rollback when this phase is next. */
  readonly rollbackAt?: Phase;
  /** Gives up the reversal when this phase of it is next; what comes after is not rolled back. */
  readonly forwardAt?: Phase;
  /** What the replica does on the target once the migration soaks; repeatable. */
  readonly duringSoak?: (context: AgentContext) => Promise<void>;
}

/** A call that a workflow has made or would make next. */
export type Call =
  | { readonly kind: 'own'; readonly claim: string; readonly expectedLease: number }
  | { readonly kind: 'step'; readonly phase: Phase; readonly lease: number; readonly step: number }
  | {
      readonly kind: 'rollback' | 'forward';
      readonly lease: number;
      readonly step: number;
    };

export function callName(call: Call): string {
  return call.kind === 'step' ? `${call.step} ${call.phase}` : call.kind;
}

/** Taken, swapped, reversed, turned forward again: each raises the generation. */
const turnedGeneration = 4;

/** What a workflow remembers between its calls. */
export interface WorkflowMemory {
  readonly view: BindingView | null;
  readonly step: number;
  readonly ended: boolean;
}

const newWorkflow: WorkflowMemory = { view: null, step: 0, ended: false };

export class MachineDriver {
  readonly context: AgentContext;
  readonly scenario: Scenario;
  memory: WorkflowMemory;

  constructor(context: AgentContext, scenario: Scenario, memory: WorkflowMemory = newWorkflow) {
    this.context = context;
    this.scenario = scenario;
    this.memory = memory;
  }

  get ended(): boolean {
    return this.memory.ended;
  }

  /** What the workflow does next; `claim` names a taking of the replica. */
  async next(claim = 'claim-1'): Promise<Call> {
    const { view, step } = this.memory;
    if (view === null) {
      const found = await readBinding(this.context, this.#addressee());
      return { kind: 'own', claim, expectedLease: found?.lease ?? 0 };
    }
    if (view.phase === 'soak') await this.scenario.duringSoak?.(this.context);
    const { lease, phase } = view;
    const { rollbackAt, forwardAt } = this.scenario;
    const turned = forwardAt !== undefined && view.generation >= turnedGeneration;
    const wished = rollbackAt === phase && !view.rollingBack && !turned;
    if (wished) return { kind: 'rollback', lease, step: step + 1 };
    if (forwardAt === phase && view.direction === 'back')
      return { kind: 'forward', lease, step: step + 1 };
    if (phase === null) throw new Error('the record knows no phase of this migration');
    return { kind: 'step', phase: phase === 'soak' ? 'finalize' : phase, lease, step: step + 1 };
  }

  /** Makes the call and remembers its answer. */
  async perform(call: Call, attempt = 1): Promise<void> {
    const { view, step } = this.memory;
    if (call.kind === 'own') {
      const { input } = this.scenario;
      const { claim, expectedLease } = call;
      const digest = inputDigest(input);
      const answer = await own(this.context, {
        agentId,
        input,
        inputDigest: digest,
        claim,
        expectedLease,
      });
      this.memory =
        answer.kind === 'ended'
          ? { view, step, ended: true }
          : { view: answer.view, step: answer.view.step, ended: false };
      return;
    }
    const answer = await this.#ask(call, attempt);
    const ended = answer.view.phase === 'ended' || answer.view.phase === null;
    this.memory = { view: answer.view, step: call.step, ended };
  }

  async #ask(call: Exclude<Call, { kind: 'own' }>, number: number): Promise<StepAnswer> {
    const { lease, step } = call;
    const { migrationId } = this.scenario.input;
    const request = { ...this.#addressee(), migrationId, lease, step };
    const attempt = attemptOf(number);
    if (call.kind !== 'step') {
      const decide = call.kind === 'rollback' ? decideToRollBack : decideToGoForward;
      return decide(this.context, { ...request, by: 'operator', reason: 'a test' }, attempt);
    }
    const { phase } = call;
    if (!isStepPhase(phase)) throw new Error(`${phase} is no step`);
    return runStep(this.context, { phase, request, attempt, body: stepBodies[phase] });
  }

  /** Goes on until the migration has ended. */
  async drive(claim = 'claim-1'): Promise<void> {
    while (!this.ended) await this.perform(await this.next(claim));
    // Native reads end by themselves: let them.
    await turn();
  }

  #addressee() {
    return { contractVersion, agentId, replica: this.scenario.input.replica };
  }
}

function attemptOf(attempt: number): Attempt {
  const taskToken = Buffer.from('a task');
  return { attempt, taskToken, signal: new AbortController().signal, heartbeat: () => {} };
}
