/** Sends pause and throttle to the machine, where running bulk work reads them. */
import { condition } from '@temporalio/workflow';

import { contractVersion } from '../core/ids.ts';
import type { AgentCalls } from './agent-calls.ts';
import { isUnreachable } from './failures.ts';
import type { MigrationState } from './migration-state.ts';

/** Until the migration has ended. */
export async function sendControl(state: MigrationState, { steer }: AgentCalls): Promise<void> {
  const { replica } = state.request.input;
  // The machine may still hold the wishes of a migration before this one.
  let sent = -1;
  for (;;) {
    await condition(
      () => state.stage === 'ended' || (state.view !== null && state.controlVersion !== sent),
    );
    if (state.stage === 'ended') return;
    const version = state.controlVersion;
    const { paused, bytesPerSecond } = state;
    const addressee = { contractVersion, agentId: state.knownAgent, replica };
    try {
      const order = { lease: state.view?.lease ?? 0, version };
      await steer.setControl({ ...addressee, order, paused, bytesPerSecond });
      sent = version;
    } catch (error) {
      // The machine is away: the step that is under way will say so; the wish stays to be sent.
      if (!isUnreachable(error)) sent = version;
    }
  }
}
