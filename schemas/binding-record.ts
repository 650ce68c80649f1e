/**
 * The binding record: the one durable truth, on the machine, about which instance is a replica's
 * primary, which migration owns the replica, and which step it has reached (`binding.json`).
 *
 * Every write raises `revision`. `generation` rises with each change of primary or mirror. `lease`
 * rises when a workflow takes or adopts the replica; `token` is the highest (step, attempt) that
 * has begun under it.
 */
import { z } from 'zod';

import { phaseNames, type Phase } from '../core/phases.ts';
import {
  instanceUrisSchema,
  migrationInputSchema,
  migrationModeSchema,
  replicaNameSchema,
} from './migration.ts';

const counter = z.number().int().min(0);

const phaseSchema = z.custom<Phase>((value) => phaseNames.some((phase) => phase === value), {
  message: 'is no phase',
});

/**
 * An instance by its URIs. While `parkedTag` is set, its directories lie under parked names made
 * from it, and files that say so at the places the URIs name.
 */
export const instanceRefSchema = z.strictObject({
  uris: instanceUrisSchema,
  parkedTag: z.string().nullable(),
});

export const stepTokenSchema = z.strictObject({ lease: counter, step: counter, attempt: counter });

const stepResultSchema = z.strictObject({
  step: counter,
  did: phaseSchema,
  next: phaseSchema,
  outcome: z.enum(['done', 'held', 'different', 'lost', 'stale']),
  /** Small facts for status and audit: digests, counts, names. */
  info: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});

const proofRefSchema = z.strictObject({
  /** File name within `proofs/`. */
  file: z.string(),
  digest: z.string(),
  generation: counter,
});

/** An instance or staging place that nothing will put back: kept until someone deletes it. */
const leftAsideSchema = z.strictObject({
  /** `staging`: never was an instance, may be discarded. */
  kind: z.enum(['staging', 'instance']),
  uris: instanceUrisSchema,
  tag: z.string(),
  why: z.string(),
});

const migrationStateSchema = z.strictObject({
  id: z.string(),
  input: migrationInputSchema,
  inputDigest: z.string(),
  agentId: z.string(),
  /**
   * `live`: a storage host serves the replica throughout, and moves it. `binary`: its program is
   * replaced, source and target are its primary.
   */
  mode: migrationModeSchema.default('stopped'),
  /** Names one taking of ownership, so that a retried one finds its own lease. */
  claim: z.string(),
  phase: phaseSchema,
  direction: z.enum(['forward', 'back']),
  source: instanceRefSchema,
  target: instanceRefSchema,
  /**
   * Tag of the target's parked name; changes when a staging place is abandoned to a late attempt.
   */
  targetTag: z.string(),
  sourceTag: z.string(),
  leftAside: z.array(leftAsideSchema),
  results: z.array(stepResultSchema),
  proof: proofRefSchema.nullable(),
  rollback: z.strictObject({ by: z.string(), reason: z.string(), at: z.string() }).nullable(),
});

/** The second instance of a replica that a storage host serves. */
const mirrorStateSchema = z.strictObject({
  ref: instanceRefSchema,
  /** `bootstrapping`: it holds an earlier state at most, and is never primary. */
  stage: z.enum(['bootstrapping', 'dual']),
  /** After a cutover: it is the way back, and a configuration may name its places. */
  wasPrimary: z.boolean().default(false),
  /** By how much both may differ after a crash (DUAL-4); null before dual write. */
  window: z.strictObject({ entries: counter, bytes: counter }).nullable().default(null),
});

/** What was a mirror, and what is still to become of it. */
const formerMirrorSchema = z.strictObject({
  ref: instanceRefSchema,
  /**
   * `retire`: it is moved aside. `delete`. `keep`: it failed and was left (DUAL-8); it stays until
   * somebody drops it, and is never cut over to.
   */
  next: z.enum(['retire', 'delete', 'keep']),
  /** A fence stands at its places afterwards (CUT-7). */
  wasPrimary: z.boolean(),
  /** Makes the names that it is moved to unique. */
  tag: z.string(),
  why: z.string(),
  /** Somebody is to be woken up by it; told until it is dropped. */
  alarm: z.enum(['rollback target lost', 'primary lost']).exactOptional(),
});

export const bindingRecordSchema = z.strictObject({
  format: z.literal('quorumshift-binding/1'),
  replica: replicaNameSchema,
  revision: counter,
  generation: counter,
  lease: counter,
  token: stepTokenSchema,
  primary: instanceRefSchema,
  mirror: mirrorStateSchema.nullable().default(null),
  /** Of the mirror that was left last; null once nothing is to be done about it. */
  former: formerMirrorSchema.nullable().default(null),
  migration: migrationStateSchema.nullable(),
  /** The migration that ended last; older ones are in the journal. */
  lastEnded: z
    .strictObject({
      id: z.string(),
      inputDigest: z.string(),
      result: z.enum(['finalized', 'rolled-back', 'abandoned']),
      /** The result of its last step, for a repeated attempt of that step. */
      last: stepResultSchema,
      leftAside: z.array(leftAsideSchema),
      at: z.string(),
    })
    .nullable(),
});

export type MirrorState = z.infer<typeof mirrorStateSchema>;
export type FormerMirror = z.infer<typeof formerMirrorSchema>;
export type LeftAside = z.infer<typeof leftAsideSchema>;
export type InstanceRef = z.infer<typeof instanceRefSchema>;
export type StepToken = z.infer<typeof stepTokenSchema>;
export type StepResult = z.infer<typeof stepResultSchema>;
export type StepInfo = StepResult['info'];
export type MigrationState = z.infer<typeof migrationStateSchema>;
export type BindingRecord = z.infer<typeof bindingRecordSchema>;
