/**
 * The hooks of a supervised replica, as an operator would write them:
 * `node replica-hook.js stop|repoint|start|probe <configuration file>`.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';

import type { ReplicaConfiguration } from './replica-process.ts';
import { callReplica } from './call-replica.ts';
import { endReplica } from './end-replica.ts';

const [hook, file = ''] = process.argv.slice(2);
const configuration: ReplicaConfiguration = JSON.parse(await readFile(file, 'utf8'));

// The supervisor starts another.
if (hook === 'stop') await endReplica(configuration.pidFile, file);
else if (hook === 'repoint') await repoint();
else if (hook === 'probe') await probe();
// start: the supervisor has never stopped trying.

async function repoint(): Promise<void> {
  const uris = {
    log: variable('QUORUMSHIFT_LOG_URI'),
    meta: variable('QUORUMSHIFT_META_URI'),
    snapshot: variable('QUORUMSHIFT_SNAPSHOT_URI'),
  };
  await writeFile(`${file}.next`, JSON.stringify({ ...configuration, uris }));
  await rename(`${file}.next`, file);
}

/** The agent's time-out ends it when the replica does not come. */
async function probe(): Promise<void> {
  for (;;) {
    const state = await callReplica(configuration.socket, '/state').catch(() => null);
    if (state?.['log'] === variable('QUORUMSHIFT_LOG_URI')) return;
    await wait(20);
  }
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}
