/** Pause and rate limit, written where running bulk work reads them. */
import { writeControl } from '../storage/binding/control-file.ts';
import { checkAddressee, recordStore, type AgentContext } from './agent-context.ts';
import type { ControlRequest } from './contract.ts';

export async function setControl(context: AgentContext, request: ControlRequest): Promise<void> {
  checkAddressee(context, request);
  const { order, paused, bytesPerSecond } = request;
  await writeControl(recordStore(context, request), { order, paused, bytesPerSecond });
}
