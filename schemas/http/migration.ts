/** The migrations of single replicas, as the HTTP API takes and shows them. */
import { z } from 'zod';

import { phaseNames } from '../../core/phases.ts';
import {
  instanceUrisSchema,
  migrationInputSchema,
  migrationModeSchema,
  migrationPolicySchema,
  replicaNameSchema,
} from '../migration.ts';
import { nameSchema } from '../names.ts';
import { operationOf, reasonSchema } from './operation.ts';
import { cursorSchema, limitSchema, pageOf } from './paging.ts';

const count = z.number().int().min(0);
const phase = z.enum(phaseNames);
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits');
const moment = z.string().describe('ISO 8601, UTC');

/** Short form (`local:///data/a`), or the three URIs. */
const instanceSchema = z.union([z.string().min(1).max(2048), instanceUrisSchema]);

export const startMigrationSchema = z
  .strictObject({
    /** Absent: made from the operation's id. */
    migrationId: migrationInputSchema.shape.migrationId.exactOptional(),
    replica: replicaNameSchema,
    host: nameSchema.describe('machine whose agent serves the replica'),
    agentId: migrationInputSchema.shape.agentId,
    source: instanceSchema,
    target: instanceSchema,
    policy: migrationPolicySchema.prefault({}),
    /** Null: live where a storage host serves it, else stopped. `binary`: target is source. */
    mode: migrationModeSchema.nullable().default(null),
    /** You answer for the group, and why: its lease is not waited for. */
    standalone: z
      .strictObject({ note: z.string().max(500) })
      .nullable()
      .default(null),
    reason: reasonSchema.exactOptional(),
  })
  .meta({ id: 'StartMigration' });

export const replicaParamsSchema = replicaNameSchema;

/** Of every list of workflows. */
export const runFilterFields = {
  state: z.enum(['running', 'completed', 'failed', 'cancelled', 'terminated']).exactOptional(),
  limit: limitSchema,
  cursor: cursorSchema,
};

export const migrationFilterSchema = z.strictObject({
  cluster: nameSchema.exactOptional(),
  ...runFilterFields,
});

export const approveMigrationSchema = z.strictObject({
  /** The very proof that the status shows. */
  proof: z.strictObject({ digest, generation: count.max(Number.MAX_SAFE_INTEGER) }),
  reason: reasonSchema.exactOptional(),
});

/* Answers. */

const runStates = ['running', 'completed', 'failed', 'cancelled', 'terminated', 'other'] as const;

export const runFields = {
  run: z.enum(runStates),
  startedAt: moment,
  closedAt: moment.nullable(),
};

const migrationRunFields = {
  replica: replicaNameSchema,
  migrationId: z.string().nullable(),
  ...runFields,
};

export const listedMigrationSchema = z.object(migrationRunFields).meta({ id: 'ListedMigration' });

export const migrationPageSchema = pageOf(listedMigrationSchema).meta({ id: 'MigrationPage' });

export const proofNameSchema = z.object({ digest: z.string(), generation: count });
const stepInfo = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]));

const bindingViewSchema = z
  .object({
    lease: count,
    generation: count,
    migrationId: z.string().nullable(),
    phase: phase.nullable(),
    direction: z.enum(['forward', 'back']),
    mode: migrationModeSchema.exactOptional(),
    step: count,
    proof: proofNameSchema.nullable(),
    primary: z.object({ log: z.string(), parkedTag: z.string().nullable() }),
    rollingBack: z.boolean(),
    /** The migration that ended last; absent in histories of before. */
    lastEnded: z.string().nullable().exactOptional(),
  })
  .meta({ id: 'BindingView', description: "what the workflow knows of the machine's record" });

export const findingSchema = z
  .object({
    check: z.string(),
    ok: z.boolean(),
    measured: z.string(),
    limit: z.string(),
    remedy: z.string(),
    /** The error's, where it failed with one. */
    code: z.string().exactOptional(),
  })
  .meta({ id: 'Finding', description: 'one preflight check: what was measured, which limit' });

const stepResultSchema = z
  .object({
    step: count,
    did: phase,
    next: phase,
    outcome: z.enum(['done', 'held', 'different', 'lost', 'stale']),
    info: stepInfo,
  })
  .meta({ id: 'StepResult' });

/** Of a replica's migration; rollouts have more. */
export const waitingKinds = [
  'paused',
  'approval',
  'lease',
  'soak',
  'finalize',
  'host-unreachable',
  'failed',
  'held',
  'cancelled',
] as const;

export const waitingFields = { reason: z.string(), remedy: z.string(), sinceMs: z.number() };

export const waitingSchema = z
  .object({ kind: z.enum(waitingKinds), ...waitingFields })
  .meta({ id: 'Waiting' });

const migrationStatusSchema = z
  .object({
    input: migrationInputSchema,
    /** Workflow id of the rollout that it belongs to. */
    coordinator: z.string().nullable().exactOptional(),
    agentId: z.string().nullable(),
    stage: z.enum(['preflight', 'running', 'ended']),
    phase: phase.nullable(),
    view: bindingViewSchema.nullable(),
    waiting: waitingSchema.nullable(),
    paused: z.boolean(),
    bytesPerSecond: z.number().nullable(),
    approved: proofNameSchema.nullable(),
    findings: z.array(findingSchema),
    results: z.array(stepResultSchema),
    compensations: z.array(phase),
    actions: z.array(z.string()),
    outcome: z.enum(['finalized', 'rolled-back', 'abandoned', 'superseded']).nullable(),
  })
  .meta({ id: 'MigrationStatus' });

export const migrationSchema = z
  .object({
    ...migrationRunFields,
    /** Null when no control worker answered within 2 s, or the history is gone. */
    status: migrationStatusSchema.nullable(),
    /** Of the bulk step under way, from its last heartbeat. */
    progress: z
      .object({
        phase,
        entriesDone: z.number(),
        entriesTotal: z.number(),
        bytesDone: z.number(),
        bytesTotal: z.number(),
        bytesPerSecond: z.number(),
        paused: z.boolean(),
      })
      .nullable(),
    attempt: z
      .object({
        step: z.string(),
        number: z.number(),
        taken: z.boolean(),
        scheduledAt: moment.nullable(),
        heartbeatAt: moment.nullable(),
        lastFailure: z.string().nullable(),
      })
      .nullable(),
    /** Why the run failed. */
    failure: z.string().nullable(),
  })
  .meta({ id: 'Migration' });

/** What the workflow knows of the proof that a cutover rests on; its file is on the machine. */
export const migrationProofSchema = z
  .object({
    replica: replicaNameSchema,
    migrationId: z.string().nullable(),
    proof: proofNameSchema.nullable(),
    approved: proofNameSchema.nullable(),
    /** Comparisons of this run, newest last: a digest and file, or how the states differ. */
    comparisons: z.array(stepResultSchema),
  })
  .meta({ id: 'MigrationProof' });

export const planSchema = z
  .object({
    agentId: z.string(),
    findings: z.array(findingSchema),
    entries: z.string().describe('int64 as decimal digits'),
    bytes: z.number(),
    mode: migrationModeSchema,
    steps: z.array(phase),
  })
  .meta({ id: 'Plan' });

export const startedSchema = z
  .object({
    replica: replicaNameSchema,
    migrationId: z.string(),
    workflowId: z.string(),
    fresh: z.boolean(),
  })
  .meta({ id: 'StartedMigration' });

export const startOperationSchema = operationOf(
  'StartMigrationOperation',
  z.union([startedSchema, planSchema]),
);
export const planOperationSchema = operationOf('PlanOperation', planSchema);

export type StartMigration = z.infer<typeof startMigrationSchema>;
