/** Migrations of single replicas. */
import type { MigrationReport } from '../../client/migrations.ts';
import { replicaText, replicaWorkflowId } from '../../core/ids.ts';
import {
  approveMigrationSchema,
  migrationFilterSchema,
  migrationPageSchema,
  migrationProofSchema,
  migrationSchema,
  planOperationSchema,
  replicaParamsSchema,
  startMigrationSchema,
  startOperationSchema,
  type StartMigration,
} from '../../schemas/http/migration.ts';
import { mayReasonSchema, mustReasonSchema, throttleSchema } from '../../schemas/http/operation.ts';
import { dryRunSchema } from '../../schemas/http/paging.ts';
import { inputDigest } from '../../schemas/input-digest.ts';
import { migrationInputSchema } from '../../schemas/migration.ts';
import { requireApprover } from '../approving-start.ts';
import type { Asker, Change } from '../changes.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';
import { runsPage } from '../runs-page.ts';
import { migrationInput } from '../migration-input.ts';
import { addEvents } from './events.ts';
import { steering } from './steering.ts';

const tags = ['migrations'];

/** What compares both states, and says by its result what it found. */
const comparing = new Set(['validate', 'soak-validate', 'rollback-validate', 'rollback-digest']);

export function addMigrations(app: ApiApp, context: ApiContext): void {
  addReads(app, context);
  addStarts(app, context);
  addSteering(app, context);
}

function addReads(app: ApiApp, context: ApiContext): void {
  const { migrations } = context.clients(reader);
  app.get(
    '/v1/migrations',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List migrations of replicas, newest first; it lags by a moment',
        operationId: 'listMigrations',
        querystring: migrationFilterSchema,
        response: { 200: migrationPageSchema },
      },
    },
    async (request) => {
      const { cluster, ...query } = request.query;
      const under = cluster === undefined ? undefined : `${cluster}/`;
      return runsPage({ ...query, under }, (page) => migrations.page(page));
    },
  );
  app.get(
    '/v1/migrations/:cluster/:member',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'Where a migration stands, why it waits, what is safe to do',
        operationId: 'getMigration',
        params: replicaParamsSchema,
        response: { 200: migrationSchema },
      },
    },
    async (request) => answer(shownMigration(await migrations.status(request.params))),
  );
  app.get(
    '/v1/migrations/:cluster/:member/proof',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'What the workflow knows of proof and comparisons; "proofs" has the files',
        operationId: 'getMigrationProof',
        params: replicaParamsSchema,
        response: { 200: migrationProofSchema },
      },
    },
    async (request) => {
      const { replica, migrationId, status } = await migrations.status(request.params);
      const results = status?.results ?? [];
      return answer({
        replica,
        migrationId,
        proof: status?.view?.proof ?? null,
        approved: status?.approved ?? null,
        comparisons: results.filter(({ did }) => comparing.has(did)),
      });
    },
  );
  addEvents(app, context, {
    url: '/v1/migrations/:cluster/:member/events',
    operationId: 'watchMigration',
    tags,
    params: replicaParamsSchema,
    subject: replicaWorkflowId,
    read: async (replica) => {
      const report = await migrations.status(replica);
      return { state: shownMigration(report), ended: report.run !== 'running' };
    },
  });
}

/** A workflow of an earlier release may have been given less. */
export function shownMigration(report: MigrationReport): MigrationReport {
  const { status } = report;
  if (status === null) return report;
  return { ...report, status: { ...status, input: migrationInputSchema.parse(status.input) } };
}

function addStarts(app: ApiApp, { clients, changes }: ApiContext): void {
  app.post(
    '/v1/migrations',
    {
      config: { role: 'operate' },
      schema: {
        tags,
        summary: 'Migrate a replica: live where a storage host serves it, else stopped',
        description: 'With dryRun=true it is planned, as by POST /v1/plans.',
        operationId: 'startMigration',
        querystring: dryRunSchema,
        body: startMigrationSchema,
        response: { 202: startOperationSchema },
      },
    },
    async (request, reply) => {
      const make = request.query.dryRun === 'true' ? planning : starting;
      return changes.take(request, reply, (as) => make(request.body, as));
    },
  );
  app.post(
    '/v1/plans',
    {
      config: { role: 'operate' },
      schema: {
        tags: ['plans'],
        summary: 'What a start would do, with every check measured; changes nothing',
        operationId: 'planMigration',
        body: startMigrationSchema,
        response: { 202: planOperationSchema },
      },
    },
    async (request, reply) => changes.take(request, reply, (as) => planning(request.body, as)),
  );

  function planning(given: StartMigration, as: Asker): Change {
    const input = migrationInput(given, as);
    return {
      action: 'migration.plan',
      subject: replicaWorkflowId(given.replica),
      audited: false,
      does: { digests: [], run: () => clients(as.by).migrations.plan(input) },
    };
  }

  function starting(given: StartMigration, as: Asker): Change {
    const input = migrationInput(given, as);
    const { approval } = input.policy;
    const action = `start a migration of ${replicaText(given.replica)}`;
    requireApprover(as, { action, approval, asksNobody: ['none'] });
    return {
      action: 'migration.start',
      subject: replicaWorkflowId(given.replica),
      reason: given.reason ?? given.standalone?.note,
      does: {
        digests: [inputDigest(input)],
        run: () => clients(as.by).migrations.start(input),
      },
    };
  }
}

/** What is asked of a migration that runs: a wish, whose operation is done once it was taken. */
function addSteering(app: ApiApp, context: ApiContext): void {
  const wish = steering(app, context, {
    url: '/v1/migrations/:cluster/:member',
    kind: 'migration',
    tags,
    params: replicaParamsSchema,
    workflowId: replicaWorkflowId,
  });
  wish('pause', {
    role: 'operate',
    summary: 'Stop before the next step; bulk work stands still',
    body: mayReasonSchema,
    run: ({ migrations }, replica, { options }) => migrations.pause(replica, options),
  });
  wish('resume', {
    role: 'operate',
    summary: 'End a pause, or retry what waits for an operator',
    body: mayReasonSchema,
    run: ({ migrations }, replica, { options }) => migrations.resume(replica, options),
  });
  wish('throttle', {
    role: 'operate',
    summary: 'Limit bulk work',
    body: throttleSchema,
    run: ({ migrations }, replica, { options, body }) =>
      migrations.throttle(replica, body.bytesPerSecond, options),
  });
  wish('approve', {
    role: 'approve',
    summary: 'Approve the cutover on the very proof that the status shows',
    body: approveMigrationSchema,
    digests: ({ proof }) => [proof.digest],
    run: ({ migrations }, replica, { options, body }) =>
      migrations.approve(replica, body.proof, options),
  });
  wish('rollback', {
    role: 'approve',
    summary: 'Go back to the source; loses nothing',
    body: mustReasonSchema,
    run: ({ migrations }, replica, { options, body }) =>
      migrations.rollback(replica, body.reason, options),
  });
  wish('cancel-rollback', {
    role: 'approve',
    summary: 'Give up a rollback that copies back what the replica wrote: it stays on the target',
    body: mustReasonSchema,
    run: ({ migrations }, replica, { options, body }) =>
      migrations.cancelRollback(replica, body.reason, options),
  });
  wish('complete', {
    role: 'approve',
    summary: 'Finalize: retire the source; rollback is refused from then on',
    body: mayReasonSchema,
    run: ({ migrations }, replica, { options }) => migrations.complete(replica, options),
  });
  wish('abandon', {
    role: 'approve',
    summary: 'End the workflow; leave the machine as it is, to be adopted later',
    body: mustReasonSchema,
    run: ({ migrations }, replica, { options, body }) =>
      migrations.abandon(replica, body.reason, options),
  });
}
