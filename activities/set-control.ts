/** Pause and rate limit, written where running bulk work reads them. */
import { writeControl } from '../storage/binding/control-file.ts';
import { replicaText } from '../core/ids.ts';
import { checkAddressee, recordStore, type AgentContext } from './agent-context.ts';
import type { ControlRequest } from './contract.ts';

export async function setControl(context: AgentContext, request: ControlRequest): Promise<void> {
  checkAddressee(context, request);
  const { order, paused, bytesPerSecond } = request;
  await writeControl(recordStore(context, request), { order, paused, bytesPerSecond });
  const replica = replicaText(request.replica);
  const limit = bytesPerSecond === null ? 'without a limit' : `at ${bytesPerSecond} bytes/s`;
  context.log(`${replica}: ${paused ? 'paused' : 'not paused'}, ${limit}`, { replica });
}
