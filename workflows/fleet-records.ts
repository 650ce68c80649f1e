/** What a fleet's rollout writes down: decisions to the audit trail, notices, results. */
import { condition, patched } from '@temporalio/workflow';

import { fleetWorkflowId } from '../core/ids.ts';
import type { FleetState } from './fleet-state.ts';
import { StoreRecords } from './store-records.ts';

export class FleetRecords extends StoreRecords<FleetState> {
  constructor(state: FleetState) {
    super(state, patched('store-takes-no-lines'));
  }

  async tell(ended: () => boolean): Promise<void> {
    const { notices, request } = this.state;
    for (;;) {
      await condition(() => ended() || notices.length > 0);
      const [notice] = notices;
      if (notice === undefined) return;
      const subject = fleetWorkflowId(request.fleet);
      await this.insist(() => this.store.notify({ ...notice, subject }));
      notices.shift();
    }
  }
}
