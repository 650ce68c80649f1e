/** What the machine keeps of a replica's validations, for whoever asks. Changes nothing. */
import { join } from 'node:path';

import { fail, hasCode } from '../core/errors.ts';
import { contractVersion, type ReplicaName } from '../core/ids.ts';
import { replicaNameSchema } from '../schemas/migration.ts';
import { proofFileNameSchema } from '../schemas/proof.ts';
import { isErrno, readWhole } from '../storage/files.ts';
import { replicaDirectory } from '../storage/binding/replica-directory.ts';
import { maxProofBytes, readProof } from '../storage/equivalence/proof.ts';
import type { AgentContext } from './agent-context.ts';
import type {
  ListProofsRequest,
  ProofFile,
  ProofPage,
  ProofPart,
  ReadProofRequest,
} from './contract.ts';

/** Some 250 bytes each: a page stays below 10 kB. */
const mostFiles = 30;

/** In base64 it stays below 10 kB. */
const partBytes = 6 * 1024;

/** A report's name ends so; a proof's never does. */
const reportEnding = '-difference.json';

/** Names have counts in them: of one migration the later file has the greater ones. */
const byCounts = new Intl.Collator('en', { numeric: true }).compare;

/** The newest first. @throws `agent.contract-version` */
export async function listProofs(
  context: AgentContext,
  request: ListProofsRequest,
): Promise<ProofPage> {
  const { after, limit } = request;
  const directory = proofsOf(context, request);
  const names = (await namesIn(context, directory)).toSorted((a, b) => byCounts(b, a));
  // Also where that one is gone meanwhile.
  const from = after === null ? 0 : names.filter((name) => byCounts(name, after) >= 0).length;
  const page = names.slice(from, from + Math.min(limit, mostFiles));
  const files = await Promise.all(page.map((name) => proofFile(context, directory, name)));
  const more = from + page.length < names.length;
  return { files, next: more ? (page.at(-1) ?? null) : null };
}

/** @throws `agent.contract-version`, `data.corrupt` for what is too large to be one */
export async function readProofPart(
  context: AgentContext,
  request: ReadProofRequest,
): Promise<ProofPart | null> {
  const { from } = request;
  const name = proofFileNameSchema.parse(request.file);
  const path = join(proofsOf(context, request), name);
  const bytes = await readWhole(context.files, path, maxProofBytes);
  if (bytes === null) return null;
  const end = from + partBytes;
  return {
    base64: bytes.subarray(from, end).toString('base64'),
    next: end < bytes.length ? end : null,
  };
}

function proofsOf(
  { config }: AgentContext,
  request: { readonly contractVersion: number; readonly replica: ReplicaName },
): string {
  if (request.contractVersion !== contractVersion) {
    const actual = request.contractVersion;
    throw fail('agent.contract-version', { supported: contractVersion, actual });
  }
  // They become part of a path.
  return replicaDirectory(config.stateDir, replicaNameSchema.parse(request.replica)).proofs;
}

/** None where the machine does not know the replica. */
async function namesIn({ files }: AgentContext, directory: string): Promise<string[]> {
  const names = await files.list(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });
  return names.filter((name) => proofFileNameSchema.safeParse(name).success);
}

async function proofFile(
  { files }: AgentContext,
  directory: string,
  file: string,
): Promise<ProofFile> {
  const path = join(directory, file);
  const bytes = (await files.stat(path))?.bytes ?? 0;
  if (file.endsWith(reportEnding)) {
    return { file, kind: 'report', bytes, digest: null, createdAt: null };
  }
  const proof = await readProof(files, path).catch((error: unknown) => {
    if (hasCode(error, 'data.corrupt')) return null;
    throw error;
  });
  const { source, createdAt = null } = proof ?? {};
  return { file, kind: 'proof', bytes, digest: source?.digest ?? null, createdAt };
}
