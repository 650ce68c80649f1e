/** What a platform team says there is: clusters, members, machines. */
import { z } from 'zod';

import { contradicts, inventoryDifferences } from '../../client/inventory-difference.ts';

import type { ControlStore } from '../../control/control-store.ts';
import {
  checkInventory,
  type DeclaredCluster,
  type DeclaredInventory,
} from '../../control/inventory-file.ts';
import { inventoryDigest, type StoredInventory } from '../../control/inventory-table.ts';
import { canonicalJson } from '../../core/canonical-json.ts';
import { fail } from '../../core/errors.ts';
import {
  compareInventoryOperationSchema,
  inventoryDifferenceSchema,
  putInventoryOperationSchema,
  revisionDifferenceFilterSchema,
  revisionFilterSchema,
  revisionPageSchema,
  revisionParamsSchema,
  storedInventorySchema,
} from '../../schemas/http/inventory.ts';
import { dryRunSchema } from '../../schemas/http/paging.ts';
import { inventorySchema } from '../../schemas/inventory.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { answer, type ApiApp, type ApiContext } from '../context.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { limits } from '../limits.ts';
import { pointerOf, UnfitFields } from '../problems.ts';
import { problemAnswer } from '../route-schemas.ts';

const tags = ['inventory'];

export function addInventory(app: ApiApp, context: ApiContext): void {
  addReads(app, context);
  addComparison(app, context);
  const { store, changes } = context;
  app.put(
    '/v1/inventory',
    {
      config: { role: 'admin' },
      bodyLimit: limits.inventoryBytes,
      schema: {
        tags,
        summary: 'Make it the present inventory; rollouts under way keep theirs',
        description: 'With dryRun=true only the difference is answered.',
        operationId: 'putInventory',
        querystring: dryRunSchema,
        body: inventorySchema,
        response: { 202: putInventoryOperationSchema },
      },
    },
    async (request, reply) => {
      const dryRun = request.query.dryRun === 'true';
      const inventory = declared(request.body);
      return changes.take(request, reply, ({ by }) => ({
        action: 'inventory.put',
        subject: 'inventory',
        audited: !dryRun,
        does: {
          digests: [inventoryDigest(inventory)],
          run: async () => {
            const before = await store.inventories.current();
            const difference = differenceOf(before?.inventory ?? null, inventory);
            const revision = dryRun ? null : await store.inventories.put(inventory, by);
            return { revision, difference };
          },
        },
      }));
    },
  );
}

/** Differences that one answer holds. */
const mostDifferences = 1_000;

function addComparison(app: ApiApp, { store, changes, clients }: ApiContext): void {
  app.post(
    '/v1/inventory/comparisons',
    {
      config: { role: 'operate' },
      schema: {
        tags,
        summary: 'Hold the present inventory against what the machines report; changes nothing',
        operationId: 'compareInventory',
        body: z.strictObject({}),
        response: { 202: compareInventoryOperationSchema },
      },
    },
    async (request, reply) =>
      changes.take(request, reply, ({ by }) => ({
        action: 'inventory.compare',
        subject: 'inventory',
        audited: false,
        does: { digests: [], run: () => compare(by) },
      })),
  );

  async function compare(by: string) {
    const found = await store.inventories.current();
    const { revision, inventory } = present(found, 'the present inventory');
    const members = inventory.clusters.flatMap((cluster) => cluster.members);
    const hosts = [...new Set(members.map(({ host }) => host))].toSorted();
    const asked = await clients(by).machines.replicas(hosts);
    const all = inventoryDifferences(defaultFamilies(), inventory, asked);
    const [against, open] = [all.filter(contradicts), all.filter((one) => !contradicts(one))];
    return {
      revision,
      away: asked.filter(({ answer: said }) => said === null).map(({ host }) => host),
      contradictions: against.length,
      differences: [...against, ...open].slice(0, mostDifferences),
    };
  }
}

function addReads(app: ApiApp, { store }: ApiContext): void {
  app.get(
    '/v1/inventory',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'The present inventory, with everything filled in',
        operationId: 'getInventory',
        response: { 200: storedInventorySchema, 404: problemAnswer(404) },
      },
    },
    async () => answer(present(await store.inventories.current(), 'the present inventory')),
  );
  app.get(
    '/v1/inventory/revisions',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List who gave which inventory, newest first',
        operationId: 'listInventoryRevisions',
        querystring: revisionFilterSchema,
        response: { 200: revisionPageSchema },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const place = placeOf('revisions', cursor);
      const before = place === null ? {} : { before: revisionNumber(place) };
      const items = await store.inventories.history({ limit, ...before });
      const last = items.at(-1);
      const more = items.length === limit && last !== undefined && last.revision > 1;
      return answer({ items, next: more ? cursorOf('revisions', String(last.revision)) : null });
    },
  );
  app.get(
    '/v1/inventory/revisions/:revision',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'An inventory as it was given then',
        operationId: 'getInventoryRevision',
        params: revisionParamsSchema,
        response: { 200: storedInventorySchema },
      },
    },
    async (request) => answer(await atRevision(store, request.params.revision)),
  );
  app.get(
    '/v1/inventory/revisions/:revision/difference',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'Which clusters differ between this inventory and another one',
        operationId: 'diffInventory',
        params: revisionParamsSchema,
        querystring: revisionDifferenceFilterSchema,
        response: { 200: inventoryDifferenceSchema },
      },
    },
    async (request) => {
      const from = await atRevision(store, request.params.revision);
      const { to } = request.query;
      const other =
        to === undefined
          ? present(await store.inventories.current(), 'the present inventory')
          : await atRevision(store, to);
      return differenceOf(from.inventory, other.inventory);
    },
  );
}

/** What only shows when clusters and machines are seen together. @throws {@link UnfitFields} */
function declared(given: z.infer<typeof inventorySchema>): DeclaredInventory {
  const checked = checkInventory(defaultFamilies(), JSON.stringify(given));
  if (checked.ok) return checked.inventory;
  throw new UnfitFields(
    checked.problems.map(({ path, message }) => ({
      in: 'body',
      pointer: pointerOf(path),
      detail: message,
    })),
  );
}

async function atRevision(store: ControlStore, revision: number): Promise<StoredInventory> {
  return present(await store.inventories.at(revision), `revision ${revision} of the inventory`);
}

/** @throws `request.not-found` */
function present(found: StoredInventory | null, what: string): StoredInventory {
  if (found === null) throw fail('request.not-found', { path: what });
  return found;
}

function differenceOf(
  before: DeclaredInventory | null,
  after: DeclaredInventory,
): z.infer<typeof inventoryDifferenceSchema> {
  const old = byName(before?.clusters ?? []);
  const young = byName(after.clusters);
  const names = [...young.keys()];
  return {
    added: names.filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !young.has(name)),
    changed: names.filter((name) => old.has(name) && old.get(name) !== young.get(name)),
  };
}

function byName(clusters: readonly DeclaredCluster[]): Map<string, string> {
  return new Map(clusters.map((cluster) => [cluster.cluster, canonicalJson(cluster)]));
}

/** @throws `request.invalid` */
function revisionNumber(place: string): number {
  const revision = Number(place);
  if (Number.isSafeInteger(revision) && revision >= 1) return revision;
  throw fail('request.invalid', { reason: 'its cursor names no revision' });
}
