/** Checks everything before anything changes; all findings at once (ROLL-2). */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

import { hasCode } from '../core/errors.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import { readFence } from '../storage/fence-text.ts';
import { replicaText } from '../core/ids.ts';
import { requireSeparate, requireFenceable } from '../storage/binding/fence-obstacles.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { probeExchange } from '../storage/binding/probe-exchange.ts';
import type { Instance } from '../storage/contracts.ts';
import { checkAddressee, type AgentContext } from './agent-context.ts';
import { checkRoots } from './allowed-roots.ts';
import { modeOf, requireServed } from './ask-storage-host.ts';
import type { PreflightAnswer } from './contract.ts';
import { gatherFindings, type Check } from './findings.ts';
import { hooksOf } from './hook-step.ts';
import { checkReplacement } from './replacement-checks.ts';
import { checkRecord, type PreflightRequest } from './record-checks.ts';
import { checkState } from './state-checks.ts';
import { fileBytes, stateBytes } from './state-size.ts';

export async function preflight(
  context: AgentContext,
  request: PreflightRequest,
): Promise<PreflightAnswer> {
  checkAddressee(context, request);
  const { input } = request;
  const { files, families } = context;
  const mode = await modeOf(context, input);
  const nothing = { entries: '0', bytes: 0, mode };
  const { findings, check } = gatherFindings();
  if (mode === 'binary') {
    const size = await checkReplacement(context, request, check);
    return { findings, mode, ...size };
  }
  const known = await check('paths allowed', `under ${context.config.roots.join(', ')}`, () =>
    checkRoots(context, [input.source, input.target]).then(() => 'all are'),
  );
  if (!known) return { findings, ...nothing };
  const durable = await check('places durable', 'directories that outlive every process', () =>
    requirePlaces(context, input),
  );
  if (!durable) return { findings, ...nothing };
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
    await requireOwnFences(context, input, targets);
    return 'empty';
  });
  await checkRecord(context, request, check);
  if (mode === 'live') {
    let entries = 0n;
    const limit = 'it serves the replica, and holds no mirror';
    const serves = await check('storage host', limit, async () => {
      const { primary, firstIndex, lastIndex } = await requireServed(context, input);
      entries = lastIndex - firstIndex + 1n;
      return `${primary?.family}, entries ${firstIndex}..${lastIndex}`;
    });
    const bytes = serves ? await fileBytes(files, sources) : 0;
    await checkSpace(context, { input, bytes, check });
    return { findings, mode, entries: String(entries), bytes };
  }
  await check('may look for open files', 'permission to see all processes', async () => {
    const { mayNotLook } = context.config;
    const holders = await context.findHolders(sources, { mayNotLook });
    return `${holders.length} open files now (the stop hook must end them)`;
  });
  return { findings, mode, ...(await checkSource(context, input, check)) };
}

/** An instance without a place ends with its process, the agent: the replica would lose all. */
async function requirePlaces({ families }: AgentContext, input: MigrationInput): Promise<string> {
  for (const uris of [input.source, input.target]) {
    const family = families.familyOf(uris);
    if (family.places(uris).length > 0) continue;
    throw new Error(`"${uris.log}" is ${family.name}: nothing is on disk`);
  }
  return 'both are on disk';
}

/**
 * A fence of somebody else's at a place of the target: an instance lies, or will lie, behind it.
 */
async function requireOwnFences(
  { files }: AgentContext,
  input: MigrationInput,
  paths: readonly string[],
): Promise<void> {
  for (const path of paths) {
    const fence = await readFence(files, path);
    if (fence === null || fence.replica === replicaText(input.replica)) continue;
    throw new Error(`${path} is reserved by migration ${fence.migration} of ${fence.replica}`);
  }
}

async function checkSource(
  context: AgentContext,
  input: MigrationInput,
  check: Check,
): Promise<{ entries: string; bytes: number }> {
  const { files, families } = context;
  let source: Instance | undefined;
  let isRunning = false;
  const limit = 'opens read-only, unlocked, or a stop hook ends who holds it';
  await check('source readable', limit, async () => {
    try {
      source = await families.open(input.source, 'read-only', { files });
    } catch (error) {
      isRunning =
        hasCode(error, 'instance.locked') && hooksOf(context, input.replica).stop !== 'none';
      if (!isRunning || !hasCode(error, 'instance.locked')) throw error;
      return `held by ${error.details['holder'] ?? '?'}: the stop hook must end it`;
    }
    const { firstIndex, lastIndex } = source.state();
    return `${source.family}, entries ${firstIndex}..${lastIndex}`;
  });
  if (isRunning) return checkRunning(context, input, check);
  if (source === undefined) return { entries: '0', bytes: 0 };
  const instance = source;
  try {
    const { firstIndex, lastIndex } = instance.state();
    const entries = String(lastIndex - firstIndex + 1n);
    const target = families.familyOf(input.target);
    const isSound = await check(
      'state consistent',
      `what a node starts on, and ${target.name} holds`,
      () => checkState(instance, [families.familyOf(input.source), target]),
    );
    // What a node would refuse may not be read whole.
    const bytes = isSound
      ? await stateBytes(instance)
      : await fileBytes(files, ownPaths(families, input.source));
    await checkSpace(context, { input, bytes, check });
    return { entries, bytes };
  } finally {
    await instance.close();
  }
}

/** A replica that runs has started on its state; the copy refuses, by name, what does not fit. */
async function checkRunning(
  context: AgentContext,
  input: MigrationInput,
  check: Check,
): Promise<{ entries: string; bytes: number }> {
  const { files, families } = context;
  const bytes = await fileBytes(files, ownPaths(families, input.source));
  await checkSpace(context, { input, bytes, check });
  return { entries: '0', bytes };
}

async function checkSpace(
  context: AgentContext,
  { input, bytes, check }: { input: MigrationInput; bytes: number; check: Check },
): Promise<void> {
  const needed = bytes + context.config.reserveBytes;
  await check('free space', `at least ${needed} bytes`, async () => {
    const free = await freeBytes(context, ownPaths(context.families, input.target));
    if (free < needed) throw new Error(`${free} bytes`);
    return `${free} bytes`;
  });
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
