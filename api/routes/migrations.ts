/** Migrations of single replicas. */
import type { z } from 'zod';

import type { MigrationClient } from '../../client/migration-client.ts';
import type { MigrationReport } from '../../client/migrations.ts';
import { replicaWorkflowId, type ReplicaName } from '../../core/ids.ts';
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
import {
  mayReasonSchema,
  mustReasonSchema,
  steeringSchema,
  throttleSchema,
} from '../../schemas/http/operation.ts';
import { dryRunSchema } from '../../schemas/http/paging.ts';
import { inputDigest } from '../../schemas/input-digest.ts';
import { migrationInputSchema } from '../../schemas/migration.ts';
import type { Asker, Change } from '../changes.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { migrationInput } from '../migration-input.ts';
import { addEvents } from './events.ts';

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
      const { limit, cursor, cluster, state } = request.query;
      const filters = { cluster, state };
      const place = placeOf(filters, cursor);
      const { items, next } = await migrations.page({
        limit,
        cursor: place === null ? null : Buffer.from(place, 'base64url'),
        ...(cluster !== undefined && { under: `${cluster}/` }),
        ...(state !== undefined && { state }),
      });
      const token = next === null ? null : Buffer.from(next).toString('base64url');
      return answer({ items, next: token === null ? null : cursorOf(filters, token) });
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
    async (request) => answer(shown(await migrations.status(request.params))),
  );
  app.get(
    '/v1/migrations/:cluster/:member/proof',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'What the workflow knows of proof and comparisons; the files are on the machine',
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
      return { state: shown(report), ended: report.run !== 'running' };
    },
  });
}

/** A workflow of an earlier release may have been given less. */
function shown(report: MigrationReport): MigrationReport {
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
      run: () => clients(as.by).migrations.plan(input),
    };
  }

  function starting(given: StartMigration, as: Asker): Change {
    const input = migrationInput(given, as);
    return {
      action: 'migration.start',
      subject: replicaWorkflowId(given.replica),
      reason: given.reason ?? given.standalone?.note,
      digests: [inputDigest(input)],
      run: () => clients(as.by).migrations.start(input),
    };
  }
}

/** What is asked of a migration that runs: a wish, whose operation is done once it was taken. */
function addSteering(app: ApiApp, { clients, changes }: ApiContext): void {
  steer('pause', {
    role: 'operate',
    summary: 'Stop before the next step; bulk work stands still',
    body: mayReasonSchema,
    run: (client, replica, { operationId }) => client.pause(replica, { operationId }),
  });
  steer('resume', {
    role: 'operate',
    summary: 'End a pause, or retry what waits for an operator',
    body: mayReasonSchema,
    run: (client, replica, { operationId }) => client.resume(replica, { operationId }),
  });
  steer('throttle', {
    role: 'operate',
    summary: 'Limit bulk work',
    body: throttleSchema,
    run: (client, replica, { operationId, body }) =>
      client.throttle(replica, body.bytesPerSecond, { operationId }),
  });
  steer('approve', {
    role: 'approve',
    summary: 'Approve the cutover on the very proof that the status shows',
    body: approveMigrationSchema,
    digests: ({ proof }) => [proof.digest],
    run: (client, replica, { operationId, body }) =>
      client.approve(replica, body.proof, { operationId }),
  });
  steer('rollback', {
    role: 'approve',
    summary: 'Go back to the source; loses nothing',
    body: mustReasonSchema,
    run: (client, replica, { operationId, body }) =>
      client.rollback(replica, body.reason, { operationId }),
  });
  steer('cancel-rollback', {
    role: 'approve',
    summary: 'Give up a rollback that copies back what the replica wrote: it stays on the target',
    body: mustReasonSchema,
    run: (client, replica, { operationId, body }) =>
      client.cancelRollback(replica, body.reason, { operationId }),
  });
  steer('complete', {
    role: 'approve',
    summary: 'Finalize: retire the source; rollback is refused from then on',
    body: mayReasonSchema,
    run: (client, replica, { operationId }) => client.complete(replica, { operationId }),
  });
  steer('abandon', {
    role: 'approve',
    summary: 'End the workflow; leave the machine as it is, to be adopted later',
    body: mustReasonSchema,
    run: (client, replica, { operationId, body }) =>
      client.abandon(replica, body.reason, { operationId }),
  });

  function steer<Body extends z.ZodType<{ readonly reason?: string }>>(
    name: string,
    does: {
      readonly role: 'operate' | 'approve';
      readonly summary: string;
      readonly body: Body;
      readonly digests?: (body: z.output<Body>) => string[];
      readonly run: (
        client: MigrationClient,
        replica: ReplicaName,
        wish: { readonly operationId: string; readonly body: z.output<Body> },
      ) => Promise<unknown>;
    },
  ): void {
    app.post(
      `/v1/migrations/:cluster/:member/${name}`,
      {
        config: { role: does.role },
        schema: {
          tags,
          summary: does.summary,
          operationId: `${camelCase(name)}Migration`,
          params: replicaParamsSchema,
          body: does.body as z.ZodType,
          response: { 202: steeringSchema },
        },
      },
      async (request, reply) => {
        const replica = request.params;
        const body = request.body as z.output<Body>;
        return changes.take(request, reply, ({ operationId, by }) => ({
          action: `migration.${name}`,
          subject: replicaWorkflowId(replica),
          reason: body.reason,
          digests: does.digests?.(body) ?? [],
          run: () => does.run(clients(by).migrations, replica, { operationId, body }),
        }));
      },
    );
  }
}

function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_dash, letter: string) => letter.toUpperCase());
}
