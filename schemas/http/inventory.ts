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

export const revisionDifferenceFilterSchema = z.strictObject({
  /** Absent: the present one. */
  to: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).exactOptional(),
});
