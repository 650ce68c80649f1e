/** Rollouts of clusters and fleets, as the HTTP API takes and shows them. */
import { z } from 'zod';

import { phaseNames } from '../../core/phases.ts';
import { clusterRolloutSchema } from '../cluster-rollout.ts';
import { migrationModeSchema } from '../migration.ts';
import { nameSchema } from '../names.ts';
import { rolloutPolicySchema } from '../rollout-policy.ts';
import {
  findingSchema,
  migrationSchema,
  proofNameSchema,
  runFields,
  runFilterFields,
  waitingFields,
  waitingKinds,
  waitingSchema,
} from './migration.ts';
import { operationOf, reasonSchema } from './operation.ts';
import { pageOf } from './paging.ts';

const count = z.number().int();
const rolloutId = clusterRolloutSchema.shape.rolloutId;

export const clusterParamsSchema = z.strictObject({ cluster: nameSchema });
export const fleetParamsSchema = z.strictObject({ fleet: nameSchema });
export const rolloutFilterSchema = z.strictObject(runFilterFields);

export const startClusterSchema = z
  .strictObject({
    /** Of the present inventory. */
    cluster: nameSchema,
    /** Absent: made from the operation's id. */
    rolloutId: rolloutId.exactOptional(),
    policy: rolloutPolicySchema,
    reason: reasonSchema.exactOptional(),
  })
  .meta({ id: 'StartCluster' });

/** Which clusters of the present inventory; all when nothing is said. */
export const selectionSchema = z.strictObject({
  /** In this order. */
  clusters: z.array(nameSchema).min(1).max(10_000).exactOptional(),
  /** Those that have all of these. */
  labels: z.record(nameSchema, z.string().max(256)).exactOptional(),
});

export const startFleetSchema = z
  .strictObject({
    fleet: nameSchema,
    /** Absent: made from the operation's id. */
    rolloutId: rolloutId.exactOptional(),
    policy: rolloutPolicySchema,
    selection: selectionSchema.prefault({}),
    reason: reasonSchema.exactOptional(),
  })
  .meta({ id: 'StartFleet' });

export const skipMemberSchema = z.strictObject({
  member: nameSchema,
  reason: reasonSchema.exactOptional(),
});
export const skipClusterSchema = z.strictObject({
  cluster: nameSchema,
  reason: reasonSchema.exactOptional(),
});
export const rollbackClusterSchema = z.strictObject({
  /** Null: all that have moved, the newest first. */
  member: nameSchema.nullable().default(null),
  reason: reasonSchema,
});

/* Answers. */

const refusalSchema = z
  .object({
    kind: z.enum([
      'unreachable',
      'unhealthy',
      'no-leader',
      'lagging',
      'change-pending',
      'no-quorum',
      'at-risk',
      'not-as-declared',
    ]),
    member: z.string().nullable(),
    reason: z.string(),
  })
  .meta({ id: 'Refusal', description: 'why a group may not be touched now' });

const memberSizeSchema = z.object({ mode: migrationModeSchema, entries: z.string(), bytes: count });

const memberReportSchema = z.object({
  member: z.string(),
  migrationId: z.string(),
  seq: count,
  phase: z.enum(phaseNames).nullable(),
  rollingBack: z.boolean(),
  waiting: waitingSchema.nullable(),
  proof: proofNameSchema.nullable(),
  /** Absent in reports of before. */
  soakProblem: z.string().nullable().exactOptional(),
  outcome: z.enum(['finalized', 'rolled-back', 'abandoned', 'superseded']).nullable(),
  reason: z.string().nullable(),
  failed: z.boolean().exactOptional(),
});

const rolloutWaitingSchema = z
  .object({
    kind: z.enum([
      ...waitingKinds,
      'health',
      'window',
      'wave-approval',
      'slot',
      'member',
      'budget',
      'stopped',
    ]),
    ...waitingFields,
  })
  .meta({ id: 'RolloutWaiting' });

const rolloutOutcome = z.enum(['finalized', 'rolled-back', 'partly', 'abandoned']);

const clusterStage = z.enum([
  'preflight',
  'moving',
  'soaking',
  'failed',
  'rolling-back',
  'finalizing',
  'ended',
]);

const memberStatusSchema = z
  .object({
    member: z.string(),
    host: z.string(),
    stage: z.enum([
      'pending',
      'moving',
      'soaking',
      'finalized',
      'rolled-back',
      'skipped',
      'failed',
    ]),
    step: z.enum(['storage', 'binary']),
    migrationId: z.string().nullable(),
    report: memberReportSchema.nullable(),
    size: memberSizeSchema.nullable(),
    reason: z.string().nullable(),
    /** As the group was looked at last; null before. */
    standing: z
      .object({
        role: z.enum(['leader', 'follower', 'learner', 'candidate', 'unknown', 'unreachable']),
        lag: z.string().nullable().describe('entries that it lacks of what is committed'),
      })
      .nullable()
      .exactOptional(),
  })
  .meta({ id: 'MemberStatus' });

const clusterStatusSchema = z
  .object({
    rollout: clusterRolloutSchema,
    stage: clusterStage,
    members: z.array(memberStatusSchema),
    order: z.array(z.string()),
    waiting: rolloutWaitingSchema.nullable(),
    refusals: z.array(refusalSchema),
    paused: z.boolean(),
    actions: z.array(z.string()),
    outcome: rolloutOutcome.nullable(),
  })
  .meta({ id: 'ClusterStatus' });

const clusterRunFields = {
  cluster: z.string(),
  rolloutId: z.string().nullable(),
  ...runFields,
};

export const clusterSchema = z
  .object({
    ...clusterRunFields,
    /** Null when no control worker answered within 2 s, or the history is gone. */
    status: clusterStatusSchema.nullable(),
    /** Of the members that are open, as they say themselves. */
    migrations: z.array(migrationSchema),
    failure: z.string().nullable(),
  })
  .meta({ id: 'ClusterRollout' });

export const clusterPageSchema = pageOf(z.object(clusterRunFields)).meta({ id: 'ClusterPage' });

const startedFields = { rolloutId: z.string(), workflowId: z.string(), fresh: z.boolean() };

const clusterPlanSchema = z
  .object({
    order: z.array(z.string()),
    refusals: z.array(refusalSchema),
    members: z.array(
      z.object({
        member: z.string(),
        host: z.string(),
        findings: z.array(findingSchema),
        size: memberSizeSchema.nullable(),
        problem: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'ClusterPlan' });

export const startClusterOperationSchema = operationOf(
  'StartClusterOperation',
  z.union([z.object({ cluster: z.string(), ...startedFields }), clusterPlanSchema]),
);

const fleetRunFields = { fleet: z.string(), rolloutId: z.string().nullable(), ...runFields };

const fleetStatusSchema = z
  .object({
    fleet: z.string(),
    rolloutId: z.string(),
    snapshot: z.string(),
    policy: rolloutPolicySchema,
    stage: z.enum(['running', 'stopped', 'budget-spent', 'finalizing', 'rolling-back', 'ended']),
    wave: count,
    waves: z.array(
      z.object({
        name: z.string(),
        upTo: count,
        state: z.enum(['pending', 'running', 'soaking', 'approval', 'done', 'failed']),
      }),
    ),
    counts: z.object({
      total: count,
      begun: count,
      moving: count,
      soaking: count,
      finalized: count,
      rolledBack: count,
      failed: count,
      skipped: count,
    }),
    clusters: z.array(
      z.object({
        cluster: z.string(),
        rolloutId: z.string(),
        seq: count,
        stage: clusterStage,
        waiting: rolloutWaitingSchema.nullable(),
        moved: count,
        total: count,
        outcome: rolloutOutcome.nullable(),
        reason: z.string().nullable(),
        /** Counted from 0. */
        wave: count.exactOptional(),
      }),
    ),
    waiting: rolloutWaitingSchema.nullable(),
    startedMs: z.number(),
    paused: z.boolean(),
    bytesPerSecond: z.number().nullable(),
    actions: z.array(z.string()),
    outcome: rolloutOutcome.nullable(),
  })
  .meta({ id: 'FleetStatus' });

export const fleetSchema = z
  .object({
    ...fleetRunFields,
    status: fleetStatusSchema.nullable(),
    failure: z.string().nullable(),
  })
  .meta({ id: 'FleetRollout' });

export const fleetPageSchema = pageOf(z.object(fleetRunFields)).meta({ id: 'FleetPage' });

export const fleetPlanSchema = z
  .object({
    clusters: count,
    members: count,
    hosts: count,
    waves: z.array(z.object({ name: z.string(), upTo: count })),
  })
  .meta({ id: 'FleetPlan' });

export const startFleetOperationSchema = operationOf(
  'StartFleetOperation',
  z.union([
    z.object({ fleet: z.string(), snapshot: z.string(), ...startedFields }),
    fleetPlanSchema,
  ]),
);

export type StartCluster = z.infer<typeof startClusterSchema>;
export type StartFleet = z.infer<typeof startFleetSchema>;
