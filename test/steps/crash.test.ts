import { describe, expect, it } from 'vitest';

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
import { callName } from './machine-driver.ts';
import { checkEnd, checkMachine, namesOf } from './machine-invariants.ts';
import { scenarios, uriA } from './machine-scenarios.ts';
import { killedAt } from './process-file-layer.ts';

const seed = Number(process.env['SEED'] ?? 20263);

/** Losses looked at for each place of a crash; the seeds of neighbouring places give others. */
const lossesPerPlace = 1;

/** Looks at what a power cut left, goes on to the end, and looks again. */
async function checkSurvivor(
  run: UndisturbedRun,
  survivor: { files: CrashFileLayer; moment: Moment; by: Successor },
): Promise<void> {
  const { files, moment } = survivor;
  const { sourceBytes } = run;
  await checkMachine({ files, sourceBytes, leastRevision: moment.revision });
  const driver = await succeed(run, survivor);
  await driver.drive();
  await checkMachine({ files, sourceBytes, leastRevision: moment.revision });
  await checkEnd(files, run.scenario.expected);
  expect(await namesOf(files)).toEqual(run.namesAtEnd);
}

async function explained(place: string, files: CrashFileLayer, check: () => Promise<void>) {
  const before = files.dump();
  try {
    await check();
  } catch (cause) {
    const now = files.dump();
    throw new Error(
      `${place}, seed ${seed}, left:\n${before}\nand came to:\n${now}\n${String(cause)}`,
      {
        cause,
      },
    );
  }
}

/** Of the kills each is looked at, and one in so many driven to the end: that takes the time. */
const toTheEndEvery = 3;

describe('a machine that loses power', () => {
  it.each(scenarios)(
    `at any operation of $name comes to the same end [OPS-1] [OPS-5] [CUT-6] [CUT-7] [I8] [I13] (seed ${seed})`,
    async (scenario) => {
      const run = await everyMoment(scenario, { seed });
      let places = 0;
      for (const moment of ownMoments(run)) {
        for (let k = 1, crashed = true; crashed; k += 1, places += 1) {
          const files = moment.files(seed + k);
          files.crashAt(k);
          const driver = driverOf(run, files, moment.memory);
          await driver.perform(moment.call).catch((error: unknown) => {
            if (!files.crashed) throw error;
          });
          ({ crashed } = files);
          for (let loss = 0; loss < lossesPerPlace; loss += 1) {
            const by = (k + loss) % 2 === 0 ? 'next attempt' : 'new lease';
            const survivor = files.afterCrash(seed + k * lossesPerPlace + loss);
            const place = `a crash at operation ${k} of ${callName(moment.call)}, then a ${by}`;
            await explained(place, survivor, () =>
              checkSurvivor(run, { files: survivor, moment, by }),
            );
          }
        }
      }
      expect(places).toBeGreaterThan(30);
    },
  );
});

describe('an agent that is killed', () => {
  it.each(scenarios)(
    `at any operation of $name, and a power cut once the step has been done again, come to the same end [OPS-1] [I8] [I13] (seed ${seed})`,
    async (scenario) => {
      const run = await everyMoment(scenario, { seed });
      for (const moment of ownMoments(run)) {
        for (let k = 1, killed = true; killed; k += 1) {
          const files = moment.files(seed + k);
          const process = killedAt(files, k);
          const driver = driverOf(run, process.files, moment.memory);
          await driver.perform(moment.call).catch((error: unknown) => {
            if (!process.killed()) throw error;
          });
          killed = process.killed();
          const place = `a kill at operation ${k} of ${callName(moment.call)}`;
          await explained(place, files, async () => {
            const successor = await succeed(run, { files, moment, by: 'next attempt' });
            const survivor = files.afterCrash(seed + k);
            const { sourceBytes } = run;
            await checkMachine({ files: survivor, sourceBytes, leastRevision: moment.revision });
            if (k % toTheEndEvery !== 0) return;
            await driverOf(run, survivor, successor.memory).drive();
            await checkEnd(survivor, scenario.expected);
            expect(await namesOf(survivor)).toEqual(run.namesAtEnd);
          });
        }
      }
    },
  );
});

describe('an operator who rolls back after a power cut', () => {
  it.each([
    { name: 'a replica with a snapshot', snapshot: true },
    { name: 'a replica that has none, and no directory for it', snapshot: false },
  ])(
    `at any operation of the migration of $name has the source back at its places, unchanged [CUT-5] [CUT-7] [I10] (seed ${seed})`,
    async ({ snapshot }) => {
      const [scenario] = scenarios;
      if (scenario === undefined) throw new Error('there is a scenario');
      const run = await everyMoment(scenario, { seed, snapshot });
      for (const moment of run.moments) {
        if (moment.call.kind === 'step' && moment.call.phase === 'finalize') break;
        for (let k = 1, crashed = true; crashed; k += 1) {
          const files = moment.files(seed + k);
          files.crashAt(k);
          await driverOf(run, files, moment.memory)
            .perform(moment.call)
            .catch((error: unknown) => {
              if (!files.crashed) throw error;
            });
          ({ crashed } = files);
          const survivor = files.afterCrash(seed + k);
          const place = `a crash at operation ${k} of ${callName(moment.call)}, then a rollback`;
          await explained(place, survivor, () => rollBack(run, { files: survivor, moment }));
        }
      }
    },
  );
});

async function rollBack(
  run: UndisturbedRun,
  { files, moment }: { files: CrashFileLayer; moment: Moment },
): Promise<void> {
  const { sourceBytes } = run;
  await rollBackNow(run, files);
  await checkMachine({ files, sourceBytes, leastRevision: moment.revision });
  await checkEnd(files, { result: 'rolled-back', primary: uriA, state: run.stateBefore });
}
