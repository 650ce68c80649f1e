/** Writes the decision to roll back into the record: from then on nothing goes forward. */
import { decideRollback } from '../storage/binding/step-guard.ts';
import {
  checkAddressee,
  claimOf,
  recordStore,
  type AgentContext,
  type Attempt,
} from './agent-context.ts';
import type { RollbackRequest, StepAnswer } from './contract.ts';
import { answer } from './step-runner.ts';

export async function decideToRollBack(
  context: AgentContext,
  request: RollbackRequest,
  attempt: Attempt,
): Promise<StepAnswer> {
  checkAddressee(context, request);
  const store = recordStore(context, request);
  const { by, reason } = request;
  return answer(
    store,
    request,
    await decideRollback(store, claimOf(request, attempt), { by, reason }),
  );
}
