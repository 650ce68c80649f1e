/** Rollouts of single clusters. */
import { rolloutDigest, type ClusterReportSeen } from '../../client/cluster-client.ts';
import { assert } from '../../core/errors.ts';
import { clusterWorkflowId } from '../../core/ids.ts';
import { mayReasonSchema, mustReasonSchema, throttleSchema } from '../../schemas/http/operation.ts';
import { dryRunSchema } from '../../schemas/http/paging.ts';
import {
  clusterPageSchema,
  clusterParamsSchema,
  clusterSchema,
  rollbackClusterSchema,
  rolloutFilterSchema,
  skipMemberSchema,
  startClusterOperationSchema,
  startClusterSchema,
  type StartCluster,
} from '../../schemas/http/rollout.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import { requireApprover } from '../approving-start.ts';
import type { Asker, Change } from '../changes.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';
import { rolloutsOf } from '../rollout-input.ts';
import { runsPage } from '../runs-page.ts';
import { addEvents } from './events.ts';
import { shownMigration } from './migrations.ts';
import { steering } from './steering.ts';

const tags = ['clusters'];

export function addClusters(app: ApiApp, context: ApiContext): void {
  addReads(app, context);
  addStart(app, context);
  addSteering(app, context);
}

function addReads(app: ApiApp, context: ApiContext): void {
  const { clusters } = context.clients(reader);
  app.get(
    '/v1/clusters',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List rollouts of clusters, newest first; it lags by a moment',
        operationId: 'listClusters',
        querystring: rolloutFilterSchema,
        response: { 200: clusterPageSchema },
      },
    },
    async (request) => runsPage(request.query, (page) => clusters.page(page)),
  );
  app.get(
    '/v1/clusters/:cluster',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: "Where a cluster's rollout stands, member by member, and what it waits for",
        operationId: 'getCluster',
        params: clusterParamsSchema,
        response: { 200: clusterSchema },
      },
    },
    async (request) => answer(shown(await clusters.status(request.params.cluster))),
  );
  addEvents(app, context, {
    url: '/v1/clusters/:cluster/events',
    operationId: 'watchCluster',
    tags,
    params: clusterParamsSchema,
    subject: ({ cluster }) => clusterWorkflowId(cluster),
    read: async ({ cluster }) => {
      const report = await clusters.status(cluster);
      return { state: shown(report), ended: report.run !== 'running' };
    },
  });
}

function shown(report: ClusterReportSeen): ClusterReportSeen {
  return { ...report, migrations: report.migrations.map(shownMigration) };
}

function addStart(app: ApiApp, context: ApiContext): void {
  const { changes, clients } = context;
  app.post(
    '/v1/clusters',
    {
      config: { role: 'operate' },
      schema: {
        tags,
        summary: 'Migrate a cluster of the present inventory, member by member, the leader last',
        description: 'With dryRun=true it is planned: every check of every member, and the order.',
        operationId: 'startCluster',
        querystring: dryRunSchema,
        body: startClusterSchema,
        response: { 202: startClusterOperationSchema },
      },
    },
    async (request, reply) => {
      const make = request.query.dryRun === 'true' ? planning : starting;
      return changes.take(request, reply, (as) => make(request.body, as));
    },
  );

  function planning(given: StartCluster, as: Asker): Change {
    return {
      action: 'cluster.plan',
      subject: clusterWorkflowId(given.cluster),
      audited: false,
      does: async () => {
        const rollout = await rolloutOf(given, as);
        return { digests: [], run: () => clients(as.by).clusters.plan(rollout) };
      },
    };
  }

  function starting(given: StartCluster, as: Asker): Change {
    const { approval } = given.policy;
    const action = `start a rollout of cluster ${given.cluster}`;
    requireApprover(as, { action, approval, asksNobody: ['none'] });
    return {
      action: 'cluster.start',
      subject: clusterWorkflowId(given.cluster),
      reason: given.reason,
      does: async () => {
        const rollout = await rolloutOf(given, as);
        return {
          digests: [rolloutDigest(rollout)],
          run: () => clients(as.by).clusters.start(rollout),
        };
      },
    };
  }

  async function rolloutOf(given: StartCluster, as: Asker): Promise<ClusterRollout> {
    const { cluster, reason: _reason, ...rest } = given;
    const selection = { clusters: [cluster] };
    const [rollout] = await rolloutsOf(context, { ...rest, selection }, as);
    assert(rollout !== undefined, 'a selection that is not refused has a cluster');
    return rollout;
  }
}

function addSteering(app: ApiApp, context: ApiContext): void {
  const wish = steering(app, context, {
    url: '/v1/clusters/:cluster',
    kind: 'cluster',
    tags,
    params: clusterParamsSchema,
    workflowId: ({ cluster }) => clusterWorkflowId(cluster),
  });
  wish('pause', {
    role: 'operate',
    summary: 'Begin nothing; bulk work of members under way stands still',
    body: mayReasonSchema,
    run: ({ clusters }, { cluster }, { options }) => clusters.pause(cluster, options),
  });
  wish('resume', {
    role: 'operate',
    summary: 'End a pause, and try again what failed',
    body: mayReasonSchema,
    run: ({ clusters }, { cluster }, { options }) => clusters.resume(cluster, options),
  });
  wish('throttle', {
    role: 'operate',
    summary: 'Limit bulk work of each member under way',
    body: throttleSchema,
    run: ({ clusters }, { cluster }, { options, body }) =>
      clusters.throttle(cluster, body.bytesPerSecond, options),
  });
  wish('approve', {
    role: 'approve',
    summary: 'Let the cutovers begin',
    body: mayReasonSchema,
    run: ({ clusters }, { cluster }, { options }) => clusters.approve(cluster, options),
  });
  wish('skip', {
    role: 'approve',
    summary: 'Leave a member where it is; it must not be under way',
    body: skipMemberSchema,
    run: ({ clusters }, { cluster }, { options, body }) =>
      clusters.skip(cluster, body.member, options),
  });
  wish('rollback', {
    role: 'approve',
    summary: 'Take one member back, or all that have moved, the newest first',
    body: rollbackClusterSchema,
    run: ({ clusters }, { cluster }, { options, body }) =>
      clusters.rollback(cluster, body, options),
  });
  wish('complete', {
    role: 'approve',
    summary: 'Finalize all members that soak',
    body: mayReasonSchema,
    run: ({ clusters }, { cluster }, { options }) => clusters.complete(cluster, options),
  });
  wish('abandon', {
    role: 'approve',
    summary: "End the rollout; its members' migrations go on by themselves",
    body: mustReasonSchema,
    run: ({ clusters }, { cluster }, { options, body }) =>
      clusters.abandon(cluster, body.reason, options),
  });
}
