/** Proofs, and what comparisons found that were none: files that a replica's machine keeps. */
import { fail, hasCode } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import { replicaParamsSchema } from '../../schemas/http/migration.ts';
import {
  proofAnswerSchema,
  proofFilterSchema,
  proofPageSchema,
  proofParamsSchema,
} from '../../schemas/http/proof.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { problemAnswer } from '../route-schemas.ts';

const tags = ['migrations'];

export function addProofs(app: ApiApp, { clients, store }: ApiContext): void {
  const { machines, migrations } = clients(reader);
  app.get(
    '/v1/migrations/:cluster/:member/proofs',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: "List a replica's proofs and reports of differences, the newest first",
        description: 'Asked of the agent of the machine that the replica lies on, at that moment.',
        operationId: 'listProofs',
        params: replicaParamsSchema,
        querystring: proofFilterSchema,
        response: { 200: proofPageSchema },
      },
    },
    async (request) => {
      const replica = request.params;
      const { limit, cursor } = request.query;
      const of = { proofs: replicaText(replica) };
      const host = await hostOf(replica);
      const page = await machines.proofs(host, { replica, after: placeOf(of, cursor), limit });
      const next = page.next === null ? null : cursorOf(of, page.next);
      return answer({ host, items: page.files, next });
    },
  );
  app.get(
    '/v1/migrations/:cluster/:member/proofs/:file',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'A proof, or a report of differences, as it is on the machine',
        description: '"quorumshift verify --proof" takes a proof that was saved from here.',
        operationId: 'getProof',
        params: proofParamsSchema,
        response: { 200: proofAnswerSchema, 422: problemAnswer(422) },
      },
    },
    async (request) => {
      const { file, ...replica } = request.params;
      const bytes = await machines.proof(await hostOf(replica), replica, file);
      const parsed = proofAnswerSchema.safeParse(jsonOf(bytes));
      if (parsed.success) return parsed.data;
      const reason = 'it is neither a proof nor a report';
      throw fail('data.corrupt', { file, offset: 0, reason }, { cause: parsed.error });
    },
  );

  /** As its migration says, or else the inventory. @throws `migration.not-found` */
  async function hostOf(replica: ReplicaName): Promise<string> {
    const report = await migrations.status(replica).catch((error: unknown) => {
      if (hasCode(error, 'migration.not-found')) return null;
      throw error;
    });
    const said = report?.status?.input.host;
    if (said !== undefined) return said;
    const found = await store.inventories.current();
    const cluster = found?.inventory.clusters.find((one) => one.cluster === replica.cluster);
    const declared = cluster?.members.find(({ member }) => member === replica.member);
    if (declared !== undefined) return declared.host;
    throw fail('migration.not-found', { replica: replicaText(replica) });
  }
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
}
