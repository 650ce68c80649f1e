/** What must hold of a live cluster after the last kill, once nobody writes any more. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { join } from 'node:path';

import { parseReplica } from '../../core/ids.ts';
import { verifyJournal } from '../../storage/binding/journal.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import type { KvCluster } from '../go/kv-cluster.ts';
import type { ReplicaView } from './live-replica.ts';
import type { MovedReplica } from './movement.ts';
import { OperatorCommand } from './operator-command.ts';

/**
 * All nodes come to the same state; each replica's host and record name the same primary; a pair is
 * equal, read offline. Ends the cluster.
 * @returns every key and its value
 */
export async function checkEnd(
  cluster: KvCluster,
  replicas: readonly MovedReplica[],
): Promise<Record<string, string>> {
  const final = await settledState(cluster);
  const views = new Map<MovedReplica, ReplicaView>();
  for (const replica of replicas) {
    await cluster.until(`${replica.name} shows itself`, async () => {
      const view = await replica.view();
      if (view !== null) views.set(replica, view);
      return view !== null;
    });
  }
  strictEqual(await cluster.end(), 0, 'the launcher ends well');
  for (const [{ name }, view] of views) {
    await checkReplica(join(cluster.directory(name), 'state'), { name, view });
  }
  return final;
}

/** Resolves when every node has applied all that any has, and all say the same of every key. */
async function settledState(cluster: KvCluster): Promise<Record<string, string>> {
  const { nodes } = cluster;
  await cluster.until('every node has applied everything', async () => {
    const all = await Promise.all(nodes.map((node) => cluster.status(node)));
    const last = Math.max(...all.map(({ lastIndex }) => lastIndex));
    return all.every(({ appliedIndex, lastIndex }) => appliedIndex === last && lastIndex === last);
  });
  const [first = {}, ...others] = await Promise.all(nodes.map((node) => cluster.local(node)));
  for (const other of others) deepStrictEqual(other, first, 'all nodes have the same state');
  return first;
}

/** The record names what the host showed, and a pair is equal; nobody serves it any more. */
export async function checkReplica(
  stateDir: string,
  { name, view }: { readonly name: string; readonly view: ReplicaView },
): Promise<void> {
  const store = new RecordStore({
    files: nodeFileLayer,
    stateDir,
    replica: parseReplica(`kv/${name}`),
    now: () => new Date(),
  });
  const record = await store.read();
  strictEqual(record?.primary.uris.log.startsWith(view.primary), true, `${name}: ${view.primary}`);
  strictEqual(record.mirror?.stage ?? '', view.stage, `${name}: stage`);
  await verifyJournal(nodeFileLayer, store.directory.journal);
  if (view.mirror === null || view.stage !== 'dual') return;
  const compared = await new OperatorCommand(['verify', view.primary, view.mirror]).ended;
  strictEqual(compared.code, 0, `${name}: primary and mirror are equal: ${compared.stderr}`);
}
