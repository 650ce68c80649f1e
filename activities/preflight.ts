/** Checks everything before anything changes; all findings at once (ROLL-2). */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

import { QuorumshiftError } from '../core/errors.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import { requireSeparate, requireFenceable } from '../storage/binding/fence-obstacles.ts';
import { findHolders } from '../storage/binding/open-files.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { probeExchange } from '../storage/binding/probe-exchange.ts';
import type { Instance } from '../storage/contracts.ts';
import { checkLimits } from '../storage/mutation-plan.ts';
import { checkAddressee, type AgentContext } from './agent-context.ts';
import { checkRoots } from './allowed-roots.ts';
import type { Addressee, Finding, PreflightAnswer } from './contract.ts';
import { checkState } from './state-checks.ts';
import { stateBytes } from './state-size.ts';

export interface PreflightRequest extends Addressee {
  readonly input: MigrationInput;
}

export async function preflight(
  context: AgentContext,
  request: PreflightRequest,
): Promise<PreflightAnswer> {
  checkAddressee(context, request);
  const { input } = request;
  const { files, families } = context;
  const findings: Finding[] = [];
  const check = async (name: string, limit: string, measure: () => Promise<string>) => {
    findings.push(await finding(name, limit, measure));
    return findings.at(-1)?.ok === true;
  };
  const known = await check('paths allowed', `under ${context.config.roots.join(', ')}`, () =>
    checkRoots(context, [input.source, input.target]).then(() => 'all are'),
  );
  if (!known) return { findings, entries: '0', bytes: 0 };
  const sources = ownPaths(families, input.source);
  const targets = ownPaths(families, input.target);
  await check('places separate', 'none inside another, no links, no mount points', async () => {
    await requireSeparate(files, [...sources, ...targets]);
    for (const path of sources) await requireFenceable(files, path);
    return `${sources.length + targets.length} places`;
  });
  await check('atomic exchange', 'renameat2 RENAME_EXCHANGE works', async () => {
    const parents = new Set(
      await Promise.all([...sources, ...targets].map(existingParent(context))),
    );
    for (const parent of parents) await probeExchange(files, parent);
    return `${parents.size} directories`;
  });
  await check('target empty', 'nothing there', async () => {
    const found = await families.familyOf(input.target).occupied(input.target, { files });
    if (found !== null) throw new Error(found);
    return 'empty';
  });
  await check('may look for open files', 'permission to see all processes', async () => {
    const { mayNotLook } = context.config;
    const holders = await findHolders(sources, { mayNotLook });
    return `${holders.length} open files now (the stop hook must end them)`;
  });
  return { findings, ...(await checkSource(context, input, check)) };
}

type Check = (name: string, limit: string, measure: () => Promise<string>) => Promise<boolean>;

async function checkSource(
  context: AgentContext,
  input: MigrationInput,
  check: Check,
): Promise<{ entries: string; bytes: number }> {
  const { files, families } = context;
  let source: Instance | undefined;
  await check('source readable', 'opens read-only, unlocked', async () => {
    source = await families.open(input.source, 'read-only', { files });
    const { firstIndex, lastIndex } = source.state();
    return `${source.family}, entries ${firstIndex}..${lastIndex}`;
  });
  if (source === undefined) return { entries: '0', bytes: 0 };
  const instance = source;
  try {
    const { firstIndex, lastIndex } = instance.state();
    const entries = String(lastIndex - firstIndex + 1n);
    const bytes = await stateBytes(instance);
    await check('state consistent', 'what a node would start on', () => checkState(instance));
    await check('fits the target family', 'limits of both families', async () => {
      const target = families.familyOf(input.target);
      for (const family of [families.familyOf(input.source), target]) {
        await checkFamilyLimits(instance, family);
      }
      return `fits ${target.name}`;
    });
    await check('free space', `at least ${bytes + context.config.reserveBytes} bytes`, async () => {
      const free = await freeBytes(context, ownPaths(families, input.target));
      if (free < bytes + context.config.reserveBytes) throw new Error(`${free} bytes`);
      return `${free} bytes`;
    });
    return { entries, bytes };
  } finally {
    await instance.close();
  }
}

async function checkFamilyLimits(
  instance: Instance,
  family: { readonly name: string; readonly limits: Parameters<typeof checkLimits>[0]['limits'] },
): Promise<void> {
  const { firstIndex, lastIndex, meta } = instance.state();
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    checkLimits({ family: family.name, limits: family.limits }, batch);
  }
  const vote = meta.votedFor && family.limits.votedFor(meta.votedFor);
  if (vote !== null) throw new Error(`voted-for ${vote}`);
  const snapshot = await instance.snapshots.latest();
  try {
    for (const file of snapshot?.files ?? []) {
      const problem = family.limits.path(file.path);
      if (problem !== null) throw new Error(`snapshot file "${file.path}": ${problem}`);
    }
  } finally {
    await snapshot?.close();
  }
}

async function finding(
  check: string,
  limit: string,
  measure: () => Promise<string>,
): Promise<Finding> {
  try {
    return { check, ok: true, measured: await measure(), limit, remedy: '' };
  } catch (error) {
    const measured = error instanceof Error ? error.message : String(error);
    const remedy = error instanceof QuorumshiftError ? error.definition.remedy : 'mend it first';
    return { check, ok: false, measured: measured.slice(0, 500), limit, remedy };
  }
}

/** The nearest directory above the path that exists. */
function existingParent(context: AgentContext): (path: string) => Promise<string> {
  return async (path) => {
    let parent = dirname(path);
    while ((await context.files.stat(parent)) === null) parent = dirname(parent);
    return parent;
  };
}

async function freeBytes(context: AgentContext, paths: readonly string[]): Promise<number> {
  let least = Number.MAX_SAFE_INTEGER;
  for (const path of paths) {
    const { bavail, bsize } = await statfs(await existingParent(context)(path));
    least = Math.min(least, bavail * bsize);
  }
  return least;
}
