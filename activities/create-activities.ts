/** All activities of an agent, by the names under which workflows call them. */
import { phases, type StepPhase } from '../core/phases.ts';
import type { AgentContext } from './agent-context.ts';
import type { ControlActivities, HostActivities, StepAnswer, StepRequest } from './contract.ts';
import { checkSoak } from './check-soak.ts';
import { own, readBinding } from './own.ts';
import { preflight } from './preflight.ts';
import { decideToGoForward, decideToRollBack, type Decide } from './decide.ts';
import { listProofs, readProofPart } from './proof-files.ts';
import { listReplicas, readMachine } from './read-machine.ts';
import { readMember, transferLeadership } from './read-member.ts';
import { setControl } from './set-control.ts';
import { stepBodies } from './step-bodies.ts';
import { runStep } from './step-runner.ts';
import { asActivity } from './temporal-attempt.ts';
import { contractVersion } from '../core/ids.ts';
import { logged } from './work-log.ts';

export function stepActivity(
  context: AgentContext,
  phase: StepPhase,
): (request: StepRequest) => Promise<StepAnswer> {
  const isLong = phases[phase].kind === 'bulk';
  return asActivity((request, attempt) =>
    logged(
      context.log,
      { ...request, what: phase, isLong, attempt },
      () => runStep(context, { phase, request, attempt, body: stepBodies[phase] }),
      ({ result: { outcome, next } }) => ({
        says: next === 'ended' ? `${outcome}, the last` : `${outcome}, next ${next}`,
        parts: { outcome, next },
      }),
    ),
  );
}

/** Takes a replica, as its log tells. */
function ownActivity(context: AgentContext): HostActivities['own'] {
  return asActivity((request, attempt) =>
    logged(
      context.log,
      { ...request.input, what: 'own', attempt },
      () => own(context, request),
      (answer) => {
        if (answer.kind === 'ended') return { says: `has ended: ${answer.result}` };
        const { phase, lease } = answer.view;
        return { says: `taken by its workflow, in phase ${phase ?? ''}`, parts: { phase, lease } };
      },
    ),
  );
}

function decisionActivity(
  context: AgentContext,
  what: string,
  decide: Decide,
): HostActivities['decideRollback'] {
  return asActivity((request, attempt) =>
    logged(
      context.log,
      { ...request, what, attempt },
      () => decide(context, request, attempt),
      () => ({
        says: `decided by ${request.by}: ${request.reason}`,
        parts: { by: request.by, reason: request.reason },
      }),
    ),
  );
}

/** Activities on the queue `host-<id>`. */
export function createHostActivities(context: AgentContext): HostActivities {
  const step = (phase: StepPhase) => stepActivity(context, phase);
  return {
    preflight: asActivity((request, attempt) =>
      logged(
        context.log,
        { ...request.input, what: 'preflight', attempt },
        () => preflight(context, request),
        ({ findings }) => {
          const failed = findings.filter(({ ok }) => !ok).map(({ check }) => check);
          return failed.length === 0
            ? { says: 'passed' }
            : { says: `failed: ${failed.join(', ')}`, isWrong: true };
        },
      ),
    ),
    // Asked every few seconds: what it finds is told, not that it looks.
    checkSoak: asActivity((request, attempt) =>
      logged(
        context.log,
        { ...request, what: 'soak', attempt },
        () => checkSoak(context, request, attempt),
        ({ failure }) => (failure === null ? null : { says: failure, isWrong: true }),
      ),
    ),
    own: ownActivity(context),
    decideRollback: decisionActivity(context, 'rollback', decideToRollBack),
    decideForward: decisionActivity(context, 'rollback --cancel', decideToGoForward),
    stop: step('stop'),
    fence: step('fence'),
    'stop-again': step('stop-again'),
    look: step('look'),
    mirror: step('mirror'),
    copy: step('copy'),
    publish: step('publish'),
    validate: step('validate'),
    'digest-again': step('digest-again'),
    swap: step('swap'),
    repoint: step('repoint'),
    admit: step('admit'),
    replace: step('replace'),
    start: step('start'),
    probe: step('probe'),
    'soak-validate': step('soak-validate'),
    finalize: step('finalize'),
    'rollback-stop': step('rollback-stop'),
    'rollback-fence': step('rollback-fence'),
    'rollback-stop-again': step('rollback-stop-again'),
    'rollback-look': step('rollback-look'),
    'rollback-validate': step('rollback-validate'),
    'rollback-digest': step('rollback-digest'),
    'rollback-swap': step('rollback-swap'),
    discard: step('discard'),
    'repoint-back': step('repoint-back'),
    unfence: step('unfence'),
    'replace-back': step('replace-back'),
    'start-back': step('start-back'),
    'probe-back': step('probe-back'),
    'forward-digest': step('forward-digest'),
    'forward-restore': step('forward-restore'),
  };
}

/** Activities on the queue `host-<id>-control`. */
export function createControlActivities(context: AgentContext): ControlActivities {
  return {
    ping: async () => ({
      agentId: context.agentId,
      contractVersions: { min: contractVersion, max: contractVersion },
    }),
    readMachine: () => readMachine(context),
    listReplicas: asActivity((request) => listReplicas(context, request)),
    listProofs: asActivity((request) => listProofs(context, request)),
    readProof: asActivity((request) => readProofPart(context, request)),
    readBinding: asActivity((request) => readBinding(context, request)),
    setControl: asActivity((request) => setControl(context, request)),
    readMember: asActivity((request) => readMember(context, request)),
    transferLeadership: asActivity((request) => transferLeadership(context, request)),
  };
}
