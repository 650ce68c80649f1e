import { describe, expect, it } from 'vitest';

import type { Direction, Phase } from '../../core/phases.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { lookAt } from '../../storage/binding/fence-file.ts';
import { ownPaths, urisNow } from '../../storage/binding/parking.ts';
import { parkedName } from '../../storage/binding/path-fence.ts';
import { appendOf } from '../../storage/testing/conformance-env.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import {
  families,
  machineContext,
  MachineDriver,
  migrationInput,
  type Call,
  type Scenario,
} from './machine-driver.ts';
import { recordStoreOf, treeOf } from './machine-invariants.ts';
import {
  dumpOf,
  makeSource,
  stateBefore,
  stateWritten,
  uriA,
  uriB,
  writesAt,
} from './machine-scenarios.ts';

interface Course extends Partial<Omit<Scenario, 'name' | 'input'>> {
  readonly id: string;
  readonly source: InstanceUris;
  readonly target: InstanceUris;
}

/** One whole migration; its last call, for whoever repeats it. */
async function migrate(
  files: CrashFileLayer,
  course: Course,
): Promise<MachineDriver & { last: Call }> {
  const { id, source, target, ...rest } = course;
  const input = migrationInput(id, { source, target });
  const driver = new MachineDriver(machineContext(files), { name: id, input, ...rest });
  let last: Call | undefined;
  while (!driver.ended) {
    last = await driver.next(`claim of ${id}`);
    await driver.perform(last);
  }
  if (last === undefined) throw new Error('a migration has calls');
  return Object.assign(driver, { last });
}

async function withSource(): Promise<CrashFileLayer> {
  const files = new CrashFileLayer(1);
  await makeSource(files);
  return files;
}

async function expectAt(files: CrashFileLayer, here: InstanceUris, state: object): Promise<void> {
  const record = await recordStoreOf(files).read();
  expect(record?.primary).toEqual({ uris: here, parkedTag: null });
  expect(await dumpOf(files, here)).toEqual(state);
  const away = here.log === uriA.log ? uriB : uriA;
  for (const path of ownPaths(families, away)) {
    expect(await lookAt(files, path)).toHaveProperty('kind', 'fence');
  }
}

const forth = { source: uriA, target: uriB };
const back = { source: uriB, target: uriA };

describe('a migration of a replica that was migrated before', () => {
  it('comes back to the paths of the first source, where a fence stands since its end [CUT-7] [CUT-8]', async () => {
    const files = await withSource();
    await migrate(files, { id: 'm1', ...forth });
    await expectAt(files, uriB, stateBefore);
    await migrate(files, { id: 'm2', ...back });
    await expectAt(files, uriA, stateBefore);
    await migrate(files, { id: 'm3', ...forth });
    await expectAt(files, uriB, stateBefore);
  });

  it.each(['fence', 'stop-again', 'swap', 'soak'] as const)(
    'goes to the same target after one that was rolled back at %s [CUT-5] [CUT-7]',
    async (rollbackAt) => {
      const files = await withSource();
      await migrate(files, { id: 'm1', ...forth, rollbackAt });
      expect(await dumpOf(files, uriA)).toEqual(stateBefore);
      await migrate(files, { id: 'm2', ...forth });
      await expectAt(files, uriB, stateBefore);
    },
  );

  it('goes to the same target after a reversal; what the reversal left stays aside [CUT-6]', async () => {
    const files = await withSource();
    const duringSoak = writesAt(uriB);
    await migrate(files, { id: 'm1', ...forth, rollbackAt: 'soak', duringSoak });
    await expectAt(files, uriA, stateWritten);
    const aside = ownPaths(families, uriB).map((path) => parkedName(path, 'm1-target'));
    const before = await Promise.all(aside.map((path) => treeOf(files, path)));
    await migrate(files, { id: 'm2', ...forth });
    await expectAt(files, uriB, stateWritten);
    expect(await Promise.all(aside.map((path) => treeOf(files, path)))).toEqual(before);
  });

  it('is refused from a source that is not the primary', async () => {
    const files = await withSource();
    await migrate(files, { id: 'm1', ...forth });
    await expect(migrate(files, { id: 'm2', ...forth })).rejects.toMatchObject({
      code: 'record.conflict',
    });
  });
});

describe('what is asked again of a migration that has ended', () => {
  it.each([
    { course: { id: 'm1', ...forth }, result: 'finalized' },
    { course: { id: 'm1', ...forth, rollbackAt: 'swap' as const }, result: 'rolled-back' },
  ])('its last step answers what it came to: $result [OPS-5] [I13]', async ({ course, result }) => {
    const files = await withSource();
    const driver = await migrate(files, course);
    const before = files.dump();
    await driver.perform(driver.last, 2);
    expect(driver.memory.view).toMatchObject({ phase: 'ended' });
    expect(files.dump()).toBe(before);
    const { lastEnded } = (await recordStoreOf(files).read()) ?? {};
    expect(lastEnded?.result).toBe(result);
  });

  it('a decision to roll back, repeated, answers the same and decides once [OPS-5]', async () => {
    const files = await withSource();
    const input = migrationInput('m1', forth);
    const scenario: Scenario = { name: 'm1', input, rollbackAt: 'swap' };
    const driver = new MachineDriver(machineContext(files), scenario);
    let call = await driver.next();
    for (; call.kind !== 'rollback'; call = await driver.next()) await driver.perform(call);
    await driver.perform(call);
    const decided = driver.memory;
    await driver.perform(call, 2);
    expect(driver.memory).toEqual(decided);
    await driver.drive();
    await driver.perform(call, 3).then(
      () => expect.fail('it must be superseded'),
      (error: unknown) => expect(error).toHaveProperty('code', 'record.superseded'),
    );
    expect(await dumpOf(files, uriA)).toEqual(stateBefore);
  });
});

describe('a reversal that is to go forward again', () => {
  const scenario: Scenario = {
    name: 'm1',
    input: migrationInput('m1', forth),
    rollbackAt: 'soak',
    forwardAt: 'validate',
    duringSoak: writesAt(uriB),
  };

  it('goes on into its fresh source when its target has changed behind the fence [CUT-6]', async () => {
    const files = await withSource();
    const driver = new MachineDriver(machineContext(files), scenario);
    while (driver.memory.view?.phase !== 'forward-digest') {
      await driver.perform(await driver.next());
    }
    const { migration } = (await recordStoreOf(files).read()) ?? {};
    if (!migration) throw new Error('a reversal is owned');
    const fenced = urisNow(families, migration.source);
    const instance = await families.open(fenced, 'read-write', { files });
    await applyToInstance(instance, appendOf(11n, 1, 3n));
    await instance.close();
    await driver.perform(await driver.next());
    expect(driver.memory.view).toMatchObject({ phase: 'copy', direction: 'back' });
    const { forwardAt: _, ...on } = scenario;
    await new MachineDriver(machineContext(files), on, driver.memory).drive();
    expect(await dumpOf(files, uriA)).toMatchObject({ lastIndex: 12n });
  });

  it('may be rolled back once more, and then again moves what was written [CUT-5] [CUT-6]', async () => {
    const files = await withSource();
    const driver = new MachineDriver(machineContext(files), scenario);
    let turned = false;
    for (let call = await driver.next(); !turned || driver.memory.view?.phase !== 'soak';) {
      await driver.perform(call);
      turned ||= call.kind === 'forward';
      call = await driver.next();
    }
    expect(await dumpOf(files, uriB)).toEqual(stateWritten);
    const { lease } = driver.memory.view;
    await driver.perform({ kind: 'rollback', lease, step: driver.memory.step + 1 });
    const { forwardAt: _, ...on } = scenario;
    await new MachineDriver(machineContext(files), on, driver.memory).drive();
    await expectAt(files, uriA, stateWritten);
  });

  it('is refused once it has swapped, and outside a reversal [CUT-6]', async () => {
    const files = await withSource();
    const { forwardAt: _, ...reversal } = scenario;
    const driver = new MachineDriver(machineContext(files), reversal);
    const forward = () => {
      const { lease = 0 } = driver.memory.view ?? {};
      return driver.perform({ kind: 'forward', lease, step: driver.memory.step + 1 });
    };
    const refused = { code: 'migration.illegal-action' };
    const until = async (direction: Direction, phase: Phase) => {
      const isThere = ({ view }: MachineDriver['memory']) =>
        view?.direction === direction && view.phase === phase;
      while (!isThere(driver.memory)) await driver.perform(await driver.next());
    };
    await until('forward', 'copy');
    await expect(forward()).rejects.toMatchObject(refused);
    await until('back', 'repoint');
    await expect(forward()).rejects.toMatchObject(refused);
  });
});

describe('a reversal', () => {
  it.each(['validate', 'digest-again'] as const)(
    'whose copy turns out different in %s copies again, into another place [CUT-6]',
    async (phase) => {
      const files = await withSource();
      const duringSoak = writesAt(uriB);
      const input = migrationInput('m1', forth);
      const scenario = { name: 'm1', input, rollbackAt: 'soak' as const, duringSoak };
      const context = machineContext(files);
      const driver = new MachineDriver(context, scenario);
      for (;;) {
        const { view } = driver.memory;
        if (view?.direction === 'back' && view.phase === phase) break;
        await driver.perform(await driver.next());
      }
      const { migration } = (await recordStoreOf(files).read()) ?? {};
      const side = phase === 'validate' ? migration?.target : migration?.source;
      if (!side) throw new Error('a reversal has two sides');
      const uris = urisNow(families, side);
      const instance = await families.open(uris, 'read-write', { files });
      await applyToInstance(instance, appendOf(11n, 1, 3n));
      await instance.close();
      await driver.drive();
      const wanted = phase === 'validate' ? 11n : 12n;
      expect(await dumpOf(files, uriA)).toMatchObject({ lastIndex: wanted });
      const record = await recordStoreOf(files).read();
      expect(record).toMatchObject({ migration: null, lastEnded: { result: 'rolled-back' } });
    },
  );
});
