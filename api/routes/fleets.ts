/** Rollouts of fleets. */
import { planWaves } from '../../core/fleet-plan.ts';
import { assert } from '../../core/errors.ts';
import { fleetWorkflowId } from '../../core/ids.ts';
import { mayReasonSchema, mustReasonSchema, throttleSchema } from '../../schemas/http/operation.ts';
import { dryRunSchema } from '../../schemas/http/paging.ts';
import {
  fleetPageSchema,
  fleetParamsSchema,
  fleetSchema,
  rolloutFilterSchema,
  skipClusterSchema,
  startFleetOperationSchema,
  startFleetSchema,
  type StartFleet,
} from '../../schemas/http/rollout.ts';
import { requireApprover } from '../approving-start.ts';
import type { Asker, Change } from '../changes.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';
import { limits } from '../limits.ts';
import { rolloutsOf } from '../rollout-input.ts';
import { runsPage } from '../runs-page.ts';
import { addEvents } from './events.ts';
import { steering } from './steering.ts';

const tags = ['fleets'];

export function addFleets(app: ApiApp, context: ApiContext): void {
  addReads(app, context);
  addStart(app, context);
  addSteering(app, context);
}

function addReads(app: ApiApp, context: ApiContext): void {
  const { fleets } = context.clients(reader);
  app.get(
    '/v1/fleets',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List rollouts of fleets, newest first; it lags by a moment',
        operationId: 'listFleets',
        querystring: rolloutFilterSchema,
        response: { 200: fleetPageSchema },
      },
    },
    async (request) => runsPage(request.query, (page) => fleets.page(page)),
  );
  app.get(
    '/v1/fleets/:fleet',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: "Where a fleet's rollout stands: waves, counts, clusters under way",
        operationId: 'getFleet',
        params: fleetParamsSchema,
        response: { 200: fleetSchema },
      },
    },
    async (request) => answer(await fleets.status(request.params.fleet)),
  );
  addEvents(app, context, {
    url: '/v1/fleets/:fleet/events',
    operationId: 'watchFleet',
    tags,
    params: fleetParamsSchema,
    subject: ({ fleet }) => fleetWorkflowId(fleet),
    read: async ({ fleet }) => {
      const report = await fleets.status(fleet);
      return { state: report, ended: report.run !== 'running' };
    },
  });
}

function addStart(app: ApiApp, context: ApiContext): void {
  const { changes, clients, store } = context;
  app.post(
    '/v1/fleets',
    {
      config: { role: 'operate' },
      bodyLimit: limits.selectionBytes,
      schema: {
        tags,
        summary: 'Migrate clusters of the present inventory, in waves',
        description: 'With dryRun=true the waves are counted; POST /v1/clusters plans a cluster.',
        operationId: 'startFleet',
        querystring: dryRunSchema,
        body: startFleetSchema,
        response: { 202: startFleetOperationSchema },
      },
    },
    async (request, reply) => {
      const make = request.query.dryRun === 'true' ? planning : starting;
      return changes.take(request, reply, (as) => make(request.body, as));
    },
  );

  function planning(given: StartFleet, as: Asker): Change {
    return {
      action: 'fleet.plan',
      subject: fleetWorkflowId(given.fleet),
      audited: false,
      does: { digests: [], run: () => plan(given, as) },
    };
  }

  async function plan(given: StartFleet, as: Asker) {
    const rollouts = await rolloutsOf(context, given, as);
    const members = rollouts.flatMap((rollout) => rollout.members);
    const waves = planWaves(given.policy.waves, rollouts.length);
    return {
      clusters: rollouts.length,
      members: members.length,
      hosts: new Set(members.map(({ host }) => host)).size,
      waves: waves.map(({ name, to }) => ({ name, upTo: to })),
    };
  }

  function starting(given: StartFleet, as: Asker): Change {
    const { fleet, reason } = given;
    const { approval } = given.policy;
    // By wave, the start is the approval of the first one.
    const asksNobody = ['none', 'per-wave'] as const;
    requireApprover(as, { action: `start a rollout of fleet ${fleet}`, approval, asksNobody });
    return {
      action: 'fleet.start',
      subject: fleetWorkflowId(fleet),
      reason,
      does: async () => {
        const rollouts = await rolloutsOf(context, given, as);
        const [first] = rollouts;
        assert(first !== undefined, 'a selection that is not refused has a cluster');
        // It stands for nothing before a rollout names it.
        const snapshot = await store.snapshots.put(rollouts);
        const { rolloutId, policy, requestedBy } = first;
        const start = { fleet, rolloutId, snapshot, policy, requestedBy };
        return {
          digests: [snapshot],
          run: async () => ({ ...(await clients(as.by).fleets.start(start)), snapshot }),
        };
      },
    };
  }
}

function addSteering(app: ApiApp, context: ApiContext): void {
  const wish = steering(app, context, {
    url: '/v1/fleets/:fleet',
    kind: 'fleet',
    tags,
    params: fleetParamsSchema,
    workflowId: ({ fleet }) => fleetWorkflowId(fleet),
  });
  wish('stop', {
    role: 'operate',
    summary: 'Emergency stop: nothing begins, what is under way pauses; resume ends it',
    body: mustReasonSchema,
    run: ({ fleets }, { fleet }, { options, body }) => fleets.stop(fleet, body.reason, options),
  });
  wish('pause', {
    role: 'operate',
    summary: 'Begin nothing; bulk work of members under way stands still',
    body: mayReasonSchema,
    run: ({ fleets }, { fleet }, { options }) => fleets.pause(fleet, options),
  });
  wish('resume', {
    role: 'operate',
    summary: 'End a pause or a stop, and try again what failed',
    body: mayReasonSchema,
    run: ({ fleets }, { fleet }, { options }) => fleets.resume(fleet, options),
  });
  wish('throttle', {
    role: 'operate',
    summary: 'Limit bulk work of each member under way',
    body: throttleSchema,
    run: ({ fleets }, { fleet }, { options, body }) =>
      fleets.throttle(fleet, body.bytesPerSecond, options),
  });
  wish('approve', {
    role: 'approve',
    summary: 'Let the next wave begin',
    body: mayReasonSchema,
    run: ({ fleets }, { fleet }, { options }) => fleets.approve(fleet, options),
  });
  wish('skip', {
    role: 'approve',
    summary: 'Leave a cluster out that has not begun, or has failed',
    body: skipClusterSchema,
    run: ({ fleets }, { fleet }, { options, body }) => fleets.skip(fleet, body.cluster, options),
  });
  wish('rollback', {
    role: 'approve',
    summary: 'Take back every cluster that is not final, the latest first',
    body: mustReasonSchema,
    run: ({ fleets }, { fleet }, { options, body }) => fleets.rollback(fleet, body.reason, options),
  });
  wish('complete', {
    role: 'approve',
    summary: 'Finalize all clusters that soak',
    body: mayReasonSchema,
    run: ({ fleets }, { fleet }, { options }) => fleets.complete(fleet, options),
  });
}
