/**
 * The hooks by which the program of a supervised replica is replaced, as an operator would write
 * them: `node replacement-hook.js stop|replace|start|probe <configuration file> <programs>`. The
 * supervisor starts `<programs>/current`, a link to one of the versions beside it.
 *
 * Each waits in the middle of what it does while the file `<programs>/hold` names its phase.
 */
import { existsSync } from 'node:fs';
import { readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { callReplica } from './call-replica.ts';
import { endReplica } from './end-replica.ts';
import type { ReplicaConfiguration } from './replica-process.ts';

const pollMs = 5;

const [hook, file = '', programs = ''] = process.argv.slice(2);
const configuration: ReplicaConfiguration = JSON.parse(await readFile(file, 'utf8'));
const phase = process.env['QUORUMSHIFT_PHASE'] ?? '';
const version = process.env['QUORUMSHIFT_DIRECTION'] === 'back' ? 'v1' : 'v2';

if (hook === 'stop') await stop();
else if (hook === 'replace') await replace();
else if (hook === 'start') await start();
else await probe();

async function stop(): Promise<void> {
  await writeFile(`${file}.down`, '');
  await held();
  await endReplica(configuration.pidFile, file);
}

async function replace(): Promise<void> {
  const next = join(programs, `next-${process.pid}`);
  await symlink(version, next);
  await held();
  await rename(next, join(programs, 'current'));
}

async function start(): Promise<void> {
  await held();
  await rm(`${file}.down`, { force: true });
}

/** A program that ends by itself is seen; the agent's time-out ends the wait for one that hangs. */
async function probe(): Promise<void> {
  await held();
  for (;;) {
    if (version === 'v2' && existsSync(join(programs, 'broken'))) throw new Error('v2 has ended');
    const state = await callReplica(configuration.socket, '/state').catch(() => null);
    if (state?.['version'] === version) return;
    await wait(pollMs);
  }
}

async function held(): Promise<void> {
  if (!(await isWanted())) return;
  await writeFile(join(programs, 'held'), phase);
  while (await isWanted()) await wait(pollMs);
}

async function isWanted(): Promise<boolean> {
  return (await readFile(join(programs, 'hold'), 'utf8').catch(() => '')) === phase;
}
