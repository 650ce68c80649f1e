import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';

import { afterAll, beforeAll, describe, test, vi } from 'vitest';

import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { applyToModel, emptyModel, type StateModel } from '../../storage/testing/state-model.ts';
import { missing } from '../setup/toolchain.ts';
import type { EngineFault } from './fault-shim.ts';
import { toldIn, type TraceRecord } from './operation-trace.ts';
import type { ToldFailure } from './traced-case.ts';
import {
  appliedIn,
  expectOneOf,
  expectUnfinishedCreation,
  inPlace,
  lacksManifest,
  openedAt,
  resumeImport,
  seed,
  spread,
  unfinished,
} from './survivors.ts';
import { TracedDisk } from './traced-disk.ts';
import { long, testTimeoutMs, TracedProcesses, type TracedRun } from './traced-process.ts';
import { importedModel, lifeModels, lifeMutations } from './workloads.ts';

vi.setConfig({ testTimeout: testTimeoutMs });

let processes: TracedProcesses;

beforeAll(() => {
  processes = new TracedProcesses();
});

afterAll(() => processes.removeAll());

/** How often each kind of call occurs in an undisturbed run, and how it may fail. */
const kinds: readonly {
  readonly kind: EngineFault['kind'];
  readonly records: readonly TraceRecord['kind'][];
  readonly codes: readonly EngineFault['code'][];
}[] = [
  { kind: 'sync', records: ['sync'], codes: ['EIO'] },
  { kind: 'write', records: ['write'], codes: ['EIO', 'ENOSPC'] },
  { kind: 'open', records: ['create'], codes: ['ENOSPC'] },
  { kind: 'truncate', records: ['truncate'], codes: ['EIO'] },
  { kind: 'rename', records: ['rename'], codes: ['EIO'] },
  { kind: 'unlink', records: ['remove'], codes: ['EIO'] },
  { kind: 'mkdir', records: ['mkdir'], codes: ['ENOSPC'] },
];

/**
 * Faults for a run like this one: each kind, some of its calls or all, once and for good. Syncs are
 * of many sorts: logs, tables, snapshots, directories.
 */
function faultsOf(run: TracedRun, places: { perCode: number; syncs: number }): EngineFault[] {
  return kinds.flatMap(({ kind, records, codes }) => {
    const calls = run.records.filter((record) => records.includes(record.kind)).length;
    return codes.flatMap((code) =>
      spread(calls, long ? calls : places[kind === 'sync' ? 'syncs' : 'perCode']).map((nth, i) => {
        return { kind, nth, code, always: i % 2 === 1 };
      }),
    );
  });
}

function failureIn(told: readonly string[], word: string): ToldFailure | null {
  const text = told.find((line) => line.startsWith(`${word} {`));
  return text === undefined ? null : (JSON.parse(text.slice(word.length + 1)) as ToldFailure);
}

/** What a failure tells: a registered error has a remedy, Node's own is mapped at the border. */
function expectTold(failure: ToldFailure): void {
  if (failure.registered) strictEqual(failure.code, 'io.failed', failure.message);
  else ok(['EIO', 'ENOSPC'].includes(failure.code), `${failure.code}: ${failure.message}`);
}

/** The states that a life may have left; null where its creation was not acknowledged. */
function allowedAfterLife(
  fault: EngineFault,
  told: readonly string[],
  models: readonly StateModel[],
): readonly (StateModel | undefined)[] | null {
  const failure = failureIn(told, 'failed');
  if (failure === null) {
    ok(told.includes('closed'), 'it neither failed nor ended');
    return models.slice(-1);
  }
  expectTold(failure);
  if (!told.includes('created')) return null;
  const applied = appliedIn(told);
  const accepted = told.find((text) => text.startsWith('accepted after '));
  const handleLeft = accepted !== undefined || told.some((text) => text.startsWith('refused'));
  if (handleLeft && fault.kind === 'sync') {
    strictEqual(failureIn(told, 'refused')?.code, 'instance.poisoned', 'a sync has failed');
  }
  if (accepted === undefined) return models.slice(applied, applied + 2);
  const after = BigInt(accepted.replace('accepted after ', ''));
  const list = entriesOf(after + 1n, after + 1n, 1000n);
  return [applyToModel(models[applied] ?? emptyModel, { entries: { after, list } })];
}

/** Looks at what is there now, and at what a power loss would leave of it. */
async function eachRemainder(
  scheme: string,
  run: TracedRun,
  look: (uri: string) => Promise<void>,
): Promise<void> {
  const disk = new TracedDisk(run.root);
  disk.play(run.records);
  await inPlace('the disk as it is', () => look(run.uri));
  await processes.withPlace(scheme, async ({ root, uri }) => {
    disk.losePower(seed, root);
    await inPlace('after a power loss', () => look(uri));
  });
}

async function eachFault(
  options: {
    scheme: string;
    workload: 'life' | 'import';
    places: { perCode: number; syncs: number };
  },
  check: (run: TracedRun & { fault: EngineFault; told: readonly string[] }) => Promise<void>,
): Promise<void> {
  const { scheme, workload } = options;
  const undisturbed = await processes.runOne({ scheme, workload, seed });
  const faults = faultsOf(undisturbed, options.places);
  const cases = faults.map((fault) => ({ scheme, workload, seed, fault }));
  let happened = 0;
  for (const [i, run] of (await processes.run(cases)).entries()) {
    const fault = faults[i];
    if (fault === undefined) throw new Error('each run has its fault');
    const told = toldIn(run.records);
    if (told.includes('the fault has happened')) happened += 1;
    const checkOne = () => check({ ...run, fault, told });
    await inPlace(`${JSON.stringify(fault)}, told: ${told.join('; ')}`, checkOne);
  }
  // How many calls the engines' own threads make differs a little.
  ok(happened > faults.length / 2, `${happened} of ${faults.length} faults happened`);
}

describe.skipIf(missing('cc')).each(['rocksdb', 'sqlite'])('a failing call under %s', (scheme) => {
  test('in a life: after a failed sync no more is taken; all that was acknowledged is there, nothing by half [LOG-8] [I15] [LOG-1]', async () => {
    const models = lifeModels(lifeMutations(seed));
    const options = { scheme, workload: 'life', places: { perCode: 3, syncs: 12 } } as const;
    await eachFault(options, async (run) => {
      const allowed = allowedAfterLife(run.fault, run.told, models);
      const dead = scheme === 'rocksdb' && run.fault.kind === 'sync' && run.fault.always;
      await eachRemainder(scheme, run, async (uri) => {
        if (dead && (await lacksManifest(uri))) return;
        if (allowed === null) await expectUnfinishedCreation(uri, emptyModel);
        else expectOneOf(await openedAt(uri), allowed);
      });
    });
  });

  test('in an import: what is not published does not open; staged again, in the same process too, it ends equivalent [LOG-8] [I11] [BOOT-4]', async () => {
    const model = importedModel(seed);
    const options = { scheme, workload: 'import', places: { perCode: 2, syncs: 4 } } as const;
    await eachFault(options, async (run) => {
      const failure = failureIn(run.told, 'failed');
      if (failure !== null) expectTold(failure);
      if (run.fault.kind === 'sync') {
        ok(!run.told.includes('import failed and takes more'), 'a sync has failed');
      }
      await eachRemainder(scheme, run, async (uri) => {
        const found = await openedAt(uri);
        if (typeof found === 'object') return expectOneOf(found, [model]);
        deepStrictEqual(unfinished.includes(found), true, `it is refused by ${found}`);
        ok(!run.told.includes('published'), 'what was published is gone');
        ok(run.fault.always || uri !== run.uri, 'it must have gone on in its process');
        await resumeImport(uri);
        expectOneOf(await openedAt(uri), [model]);
      });
    });
  });
});
