/** What an agent says of its machine, and of the replicas that its records name. */
import { readFile, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';

import { fail, hasCode } from '../core/errors.ts';
import { contractVersion, replicaText } from '../core/ids.ts';
import { knownReplicas } from '../storage/binding/named-instances.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import { presentView, type AgentContext } from './agent-context.ts';
import type {
  Finding,
  HostedReplica,
  ListReplicasRequest,
  MachineAnswer,
  ReplicaPage,
} from './contract.ts';

/** A page stays below 10 kB. */
const mostReplicas = 40;

export async function readMachine(context: AgentContext): Promise<MachineAnswer> {
  const { agentId, config, now } = context;
  return {
    agentId,
    contractVersions: { min: contractVersion, max: contractVersion },
    version: await productVersion(),
    nowMs: now().getTime(),
    findings: [
      await ownerOnly('state directory', config.stateDir),
      await ownerOnly("storage host's admin socket", config.hostAdminSocket),
    ].filter((finding) => finding !== null),
  };
}

/** In the order of their names. @throws `agent.contract-version` */
export async function listReplicas(
  { files, config }: AgentContext,
  request: ListReplicasRequest,
): Promise<ReplicaPage> {
  if (request.contractVersion !== contractVersion) {
    const actual = request.contractVersion;
    throw fail('agent.contract-version', { supported: contractVersion, actual });
  }
  const { after, limit } = request;
  const known = await knownReplicas(files, config.stateDir);
  const names = known.map((store) => replicaText(store.replica));
  const from = after === null ? 0 : names.findIndex((name) => name === after) + 1;
  const page = known.slice(from, from + Math.min(limit, mostReplicas));
  const last = page.at(-1);
  const more = from + page.length < known.length && last !== undefined;
  return {
    replicas: await Promise.all(page.map(hostedReplica)),
    next: more ? replicaText(last.replica) : null,
    total: known.length,
  };
}

async function hostedReplica(store: RecordStore): Promise<HostedReplica> {
  const { replica } = store;
  const nothing = { replica, primary: null, phase: null, migrationId: null, problem: null };
  try {
    const record = await store.read();
    if (record === null) return nothing;
    const { primary, phase, migrationId } = presentView(record);
    return { replica, primary, phase, migrationId, problem: null };
  } catch (error) {
    if (!hasCode(error, 'record.corrupt')) throw error;
    return { ...nothing, problem: error.message.slice(0, 200) };
  }
}

/** Null where nothing is there: no storage host serves the machine. */
async function ownerOnly(check: string, path: string): Promise<Finding | null> {
  const found = await stat(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (found === null) return null;
  const mode = found.mode & 0o777;
  const { uid } = userInfo();
  const ok = (mode & 0o022) === 0 && (found.uid === uid || uid === 0);
  return {
    check: `permissions of the ${check}`,
    ok,
    measured: `${path}: mode ${mode.toString(8).padStart(4, '0')}, owner ${found.uid}`,
    limit: `written by its owner alone, who is the agent's user (${uid})`,
    remedy: ok ? '' : `chown ${uid} ${path}; chmod go-w ${path}`,
  };
}

async function productVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
