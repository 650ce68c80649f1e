/** Writes an operator's decision into the record: from then on the steps follow from it. */
import { decideForward, decideRollback } from '../storage/binding/decisions.ts';
import {
  checkAddressee,
  claimOf,
  recordStore,
  type AgentContext,
  type Attempt,
} from './agent-context.ts';
import type { DecisionRequest, StepAnswer } from './contract.ts';
import { answer } from './step-runner.ts';

export type Decide = (
  context: AgentContext,
  request: DecisionRequest,
  attempt: Attempt,
) => Promise<StepAnswer>;

export const decideToRollBack: Decide = by(decideRollback);

export const decideToGoForward: Decide = by(decideForward);

function by(decide: typeof decideRollback): Decide {
  return async (context, request, attempt) => {
    checkAddressee(context, request);
    const store = recordStore(context, request);
    const wish = { by: request.by, reason: request.reason };
    return answer(store, request, await decide(store, claimOf(request, attempt), wish));
  };
}
