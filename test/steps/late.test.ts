import { setImmediate as turn } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import { readJournal } from '../../storage/binding/journal.ts';
import { ownPaths } from '../../storage/binding/parking.ts';
import { parkedName } from '../../storage/binding/path-fence.ts';
import type { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import {
  driverOf,
  everyMoment,
  ownMoments,
  rollBackNow,
  succeed,
  type Moment,
  type Successor,
  type UndisturbedRun,
} from './every-moment.ts';
import { callName, families } from './machine-driver.ts';
import { checkEnd, checkMachine, recordStoreOf, treeOf } from './machine-invariants.ts';
import { scenarios, uriA, uriB } from './machine-scenarios.ts';
import { stalledAt } from './process-file-layer.ts';

const seed = Number(process.env['SEED'] ?? 20264);

/** How a late attempt ended. */
type Outcome = { readonly answered: true } | { readonly answered: false; readonly error: unknown };

async function outcomeOf(attempt: Promise<void>): Promise<Outcome> {
  try {
    await attempt;
    return { answered: true };
  } catch (error) {
    return { answered: false, error };
  }
}

interface Late {
  readonly run: UndisturbedRun;
  readonly moment: Moment;
  readonly files: CrashFileLayer;
  readonly by: Successor;
  readonly letGo: () => void;
  readonly outcome: Promise<Outcome>;
}

/** A late attempt that stalled in a critical section is waited for: it is the newest until then. */
async function checkHolder(late: Late): Promise<void> {
  const { run, moment, files, by, letGo } = late;
  const lock = await files.lock(recordStoreOf(files).directory.recordLock, 'exclusive');
  expect(lock).toHaveProperty('holder');
  const succeeding = succeed(run, { files, moment, by });
  await turn();
  letGo();
  // A new workflow that saw the lease from before is refused, and looks again.
  const driver = await succeeding.catch((error: unknown) => {
    if (by === 'new lease' && hasCode(error, 'record.superseded')) return driverOf(run, files);
    throw error;
  });
  if (!driver.ended) await driver.perform(await driver.next('claim-3'));
  await late.outcome;
  const { sourceBytes } = run;
  await checkMachine({ files, sourceBytes, leastRevision: moment.revision });
}

/**
 * A late attempt that stalled elsewhere finds itself superseded, and leaves the machine as it is.
 */
async function checkLate(late: Late): Promise<void> {
  const { run, moment, files, by, letGo, outcome } = late;
  const driver = await succeed(run, { files, moment, by });
  await driver.drive();
  const before = await treeOf(files, '');
  letGo();
  const ended = await outcome;
  const after = await treeOf(files, '');
  const own = await abandonedPlaces(files);
  const elsewhere = changes(before, after).filter(
    (name) => !own.some((place) => name.startsWith(place)),
  );
  expect(elsewhere).toEqual([]);
  if (!ended.answered) expect(ended.error).toHaveProperty('code', 'record.superseded');
  const { sourceBytes } = run;
  await checkMachine({ files, sourceBytes, leastRevision: moment.revision });
  await checkEnd(files, run.scenario.expected);
}

/**
 * All that a late attempt may still write to: the staging place of a copy that its successor left
 * to it, because it held its lock. The journal names it at the end, and nothing refers to it.
 */
async function abandonedPlaces(files: CrashFileLayer): Promise<string[]> {
  const lines = await readJournal(files, recordStoreOf(files).directory.journal);
  const tags = lines.flatMap((line) => {
    const { left } = line as { left?: string };
    return line['event'] === 'new-staging-place' && left !== undefined ? [left] : [];
  });
  const paths = [uriA, uriB].flatMap((uris) => ownPaths(families, uris));
  return tags.flatMap((tag) => paths.map((path) => `${parkedName(path, tag)}/`));
}

function changes(before: Record<string, string>, after: Record<string, string>): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => before[name] !== after[name]).toSorted();
}

describe('an attempt that stalls, and goes on when its successors have come to the end', () => {
  it.each(scenarios)(
    `is superseded and changes nothing, wherever it stalled in $name [OPS-5] [I13] (seed ${seed})`,
    async (scenario) => {
      const run = await everyMoment(scenario, { seed });
      const seen = { holding: 0, elsewhere: 0 };
      for (const moment of ownMoments(run)) {
        for (let k = 1; ; k += 1) {
          const files = moment.files(seed);
          const process = stalledAt(files, k);
          const driver = driverOf(run, process.files, moment.memory);
          const outcome = outcomeOf(driver.perform(moment.call));
          const at = await Promise.race([process.stalled, outcome]);
          if (!('kind' in at)) break;
          const by = k % 2 === 0 ? 'next attempt' : 'new lease';
          const late: Late = { run, moment, files, by, letGo: process.letGo, outcome };
          const holds = process.files.holds(recordStoreOf(files).directory.recordLock);
          seen[holds ? 'holding' : 'elsewhere'] += 1;
          const before = files.dump();
          try {
            if (holds) await checkHolder(late);
            else await checkLate(late);
          } catch (cause) {
            const place = `a stall before ${at.kind} ${k} of ${callName(moment.call)} at ${at.path}, then a ${by}`;
            throw new Error(`${place}:\n${before}\ncame to:\n${files.dump()}\n${String(cause)}`, {
              cause,
            });
          }
        }
      }
      expect(Math.min(seen.holding, seen.elsewhere)).toBeGreaterThan(10);
    },
  );
});

describe('a copy that stalls while its migration is rolled back', () => {
  it(`leaves nothing but what it still makes at its own parked names, wherever it stalled [OPS-5] [BOOT-4] [CUT-5] (seed ${seed})`, async () => {
    const [scenario] = scenarios;
    if (scenario === undefined) throw new Error('there is a scenario');
    const run = await everyMoment(scenario, { seed });
    const moment = run.moments.find(({ call }) => call.kind === 'step' && call.phase === 'copy');
    if (moment === undefined) throw new Error('a migration copies');
    for (let k = 1; ; k += 1) {
      const files = moment.files(seed);
      const process = stalledAt(files, k);
      const outcome = outcomeOf(driverOf(run, process.files, moment.memory).perform(moment.call));
      const at = await Promise.race([process.stalled, outcome]);
      if (!('kind' in at)) break;
      if (process.files.holds(recordStoreOf(files).directory.recordLock)) {
        process.letGo();
        await outcome;
        continue;
      }
      await rollBackNow(run, files);
      const before = await treeOf(files, '');
      process.letGo();
      const ended = await outcome;
      const left = changes(before, await treeOf(files, ''));
      const places = ownPaths(families, uriB).map((path) => parkedName(path, 'm1-target'));
      expect(left.filter((name) => !places.some((place) => name.startsWith(place)))).toEqual([]);
      expect(ended).toHaveProperty('error.code', 'record.superseded');
      await checkEnd(files, { result: 'rolled-back', primary: uriA, state: run.stateBefore });
    }
  });
});
