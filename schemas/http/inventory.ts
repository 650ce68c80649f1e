/** The inventory, as the HTTP API takes and shows it. */
import { z } from 'zod';

import { instanceUrisSchema } from '../migration.ts';
import { operationOf } from './operation.ts';
import { cursorSchema, limitSchema, pageOf } from './paging.ts';

const revision = z.number().int().min(1);

const revisionFields = { revision, digest: z.string(), at: z.string(), by: z.string() };

export const revisionSchema = z.object(revisionFields).meta({ id: 'InventoryRevision' });
export const revisionPageSchema = pageOf(revisionSchema).meta({ id: 'InventoryRevisionPage' });

export const revisionFilterSchema = z.strictObject({ limit: limitSchema, cursor: cursorSchema });

export const revisionParamsSchema = z.strictObject({
  revision: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
});

/** With everything filled in. */
export const declaredInventorySchema = z
  .object({
    version: z.literal(1),
    clusters: z.array(
      z.object({
        cluster: z.string(),
        labels: z.record(z.string(), z.string()),
        members: z.array(
          z.object({
            member: z.string(),
            host: z.string(),
            agentId: z.string().nullable(),
            raftId: z.string(),
            source: instanceUrisSchema,
            process: z.string().nullable(),
          }),
        ),
      }),
    ),
  })
  .meta({ id: 'DeclaredInventory' });

export const storedInventorySchema = z
  .object({ ...revisionFields, inventory: declaredInventorySchema })
  .meta({ id: 'StoredInventory' });

/** Names of clusters, between two inventories. */
export const inventoryDifferenceSchema = z
  .object({
    added: z.array(z.string()),
    removed: z.array(z.string()),
    changed: z.array(z.string()),
  })
  .meta({ id: 'InventoryDifference' });

export const putInventoryOperationSchema = operationOf(
  'PutInventoryOperation',
  z.object({
    /** Null for a dry run. */
    revision: revisionSchema.nullable(),
    /** Against the one before. */
    difference: inventoryDifferenceSchema,
  }),
);

/** Against what the agents report that their machines hold. */
export const compareInventoryOperationSchema = operationOf(
  'CompareInventoryOperation',
  z.object({
    revision,
    /** Machines that gave no answer. */
    away: z.array(z.string()),
    /** How many there are of those that contradict the inventory. */
    contradictions: z.number().int(),
    differences: z
      .array(
        z.object({
          kind: z.enum([
            'elsewhere',
            'other-machine',
            'undeclared',
            'unreadable',
            'no-record',
            'unknown',
          ]),
          replica: z.string(),
          host: z.string(),
          declared: z.string().nullable(),
          reported: z.string().nullable(),
          phase: z.string().nullable(),
          note: z.string(),
        }),
      )
      .describe('at most 1,000, those that contradict it first'),
  }),
);

export const revisionDifferenceFilterSchema = z.strictObject({
  /** Absent: the present one. */
  to: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).exactOptional(),
});
