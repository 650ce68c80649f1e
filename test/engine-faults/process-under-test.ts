/**
 * The process that the shim is loaded into: runs cases one after the other, each traced into a file
 * of its own. Arguments: the shim, and a file of cases. What a case tells goes to stdout, where the
 * shim sees it in the order of the calls.
 */
import { readFileSync, writeSync } from 'node:fs';

import { QuorumshiftError } from '../../core/errors.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';
import { loadedShim } from './fault-shim.ts';
import { allEnded, type ToldFailure, type TracedCase } from './traced-case.ts';
import {
  importOnce,
  lifeMutations,
  live,
  reopen,
  type LifeHandle,
  type Subject,
} from './workloads.ts';

function failureText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'none';
  const registered = error instanceof QuorumshiftError;
  return JSON.stringify({ code, message, registered } satisfies ToldFailure);
}

const tell = (text: string): void => {
  writeSync(1, `${text}\n`);
};

/** After a failure: whether the handle still takes a mutation, and that it can be closed. */
async function tryOnce({ instance, applied }: LifeHandle): Promise<void> {
  if (instance === null || applied === null) return;
  const after = instance.state().lastIndex;
  const entries = { after, list: entriesOf(after + 1n, after + 1n, 1000n) };
  try {
    await applyToInstance(instance, { entries });
    tell(`accepted after ${after}`);
  } catch (error) {
    tell(`refused ${failureText(error)}`);
  }
  try {
    await instance.close();
    tell('closed');
  } catch (error) {
    tell(`close failed ${failureText(error)}`);
  }
}

/** Whether it is still a place for an import: a failure may come after the publishing. */
async function stages({ family, uris }: Subject): Promise<boolean> {
  const instance = await family
    .open(uris, 'read-write', { files: nodeFileLayer })
    .catch(() => null);
  await instance?.close();
  return instance === null;
}

async function run(given: TracedCase, subject: Subject): Promise<void> {
  const handle: LifeHandle = { instance: null, applied: null };
  try {
    if (given.workload === 'import') await importOnce(subject);
    else if (given.workload === 'reopen') await reopen(subject);
    else await live(subject, lifeMutations(given.seed, given.largeBytes), handle);
  } catch (error) {
    tell(`failed ${failureText(error)}`);
    await tryOnce(handle);
    const again = given.workload === 'import' && given.fault?.always === false;
    // In the same process: what the failed attempt held must be free.
    if (again && (await stages(subject))) await importOnce(subject);
  }
}

async function main(library: string, caseFile: string): Promise<void> {
  const shim = loadedShim(library);
  const families = defaultFamilies();
  for (const given of JSON.parse(readFileSync(caseFile, 'utf8')) as TracedCase[]) {
    const uris = families.expand(given.uri);
    const subject = { family: families.familyOf(uris), uris, seed: given.seed, tell };
    shim.begin(given);
    await run(given, subject);
    tell(shim.faultHappened() ? 'the fault has happened' : 'no fault has happened');
    shim.end();
  }
  tell(allEnded);
  // Engines that a case has left open end with the process; an exit would wait for their threads.
  process.kill(process.pid, 'SIGKILL');
}

const [, , library, caseFile] = process.argv;
if (library !== undefined && caseFile !== undefined) await main(library, caseFile);
