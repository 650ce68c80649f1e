import { describe, expect, test } from 'vitest';

import type { InstanceUris } from '../../storage/contracts.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import {
  allowedStates,
  history,
  modelAfter,
  mutations,
} from '../../storage/testing/crash-situations.ts';
import type { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';
import { dumpState, type StateDump } from '../../storage/testing/state-dump.ts';
import {
  applyToInstance,
  dumpModel,
  type ModelMutation,
} from '../../storage/testing/state-model.ts';
import { openPairAt, sidesOf, type PairFamilyOptions } from './pair-family.ts';

/** About five entries in each segment. */
const local = createLocalFamily({ maxSegmentBytes: 200 });
const pair: PairFamilyOptions = {
  primary: local,
  mirror: local,
  directory: () => '/pair',
  window: { entries: 6, bytes: 100_000 },
};
const uris: InstanceUris = { log: 'pair:', meta: 'pair:', snapshot: 'pair:' };
const seed = Number(process.env['SEED'] ?? 20264);

async function openAfter(files: CrashFileLayer, before: readonly ModelMutation[]) {
  const { instance } = await openPairAt(pair, uris, { mode: 'create', context: { files } });
  for (const mutation of before) await applyToInstance(instance, mutation);
  return instance;
}

/** Opens the pair; the opening itself is stopped once in the middle. Both sides' states. */
async function recovered(survivor: CrashFileLayer, crashAt: number): Promise<StateDump> {
  survivor.crashAt(crashAt);
  const how = { mode: 'read-write' } as const;
  await openPairAt(pair, uris, { ...how, context: { files: survivor } }).catch(() => {});
  const files = survivor.afterCrash(seed + crashAt);
  const { instance, engine } = await openPairAt(pair, uris, { ...how, context: { files } });
  const { mirror } = engine;
  expect(mirror).not.toBeNull();
  const found = await dumpState(instance);
  if (mirror !== null) expect(await dumpState(mirror)).toEqual(found);
  await instance.close();
  return found;
}

/** What one side holds when the other is gone. */
async function dumpAlone(files: CrashFileLayer, side: 'primary' | 'mirror'): Promise<StateDump> {
  const instance = await local.open(sidesOf(pair, uris)[side], 'read-write', { files });
  const found = await dumpState(instance);
  await instance.close();
  return found;
}

describe(`a crash at every operation of a pair (SEED=${seed}) during`, () => {
  test.each(Object.entries(mutations))(
    '%s: both end equal, with everything acknowledged [DUAL-2] [DUAL-4] [DUAL-5] [DUAL-6] [I1] [I19]',
    async (_, mutation) => {
      const allowed = allowedStates(modelAfter(history), mutation).map(dumpModel);
      const operations = await everyCrash({
        seed,
        prepare: (files) => openAfter(files, history),
        run: (_files, instance) => applyToInstance(instance, mutation),
        check: async (survivor, { k, ended }) => {
          if (ended) {
            for (const side of ['primary', 'mirror'] as const) {
              expect(await dumpAlone(survivor.afterCrash(seed), side)).toEqual(allowed.at(-1));
            }
          }
          const found = await recovered(survivor.afterCrash(seed + k), (k % 11) + 1);
          if (ended) expect(found).toEqual(allowed.at(-1));
          else expect(allowed).toContainEqual(found);
        },
      });
      expect(operations).toBeGreaterThan(3);
    },
  );
});
