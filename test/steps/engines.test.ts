import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { InstanceUris } from '../../storage/contracts.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { appendOf, snapshotOf, voteA } from '../../storage/testing/conformance-env.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';
import { machineContext, MachineDriver, migrationInput } from './machine-driver.ts';
import { recordStoreOf } from './machine-invariants.ts';

const families = defaultFamilies();
const files = nodeFileLayer;

async function dumpAt(uris: InstanceUris): Promise<object> {
  const instance = await families.open(uris, 'read-only', { files });
  try {
    return await dumpState(instance);
  } finally {
    await instance.close();
  }
}

async function writeAt(uris: InstanceUris, after: bigint): Promise<void> {
  const instance = await families.open(uris, 'read-write', { files });
  await applyToInstance(instance, { ...appendOf(after, 3, 3n), meta: { term: 3n } });
  await instance.close();
}

/** A machine on the real disk, with a replica of five entries and a snapshot in braft's format. */
async function withMachine(
  use: (machine: { root: string; first: InstanceUris }) => Promise<void>,
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'quorumshift-steps-'));
  try {
    await mkdir(join(root, 'data'));
    const first = families.expand(`local://${root}/data/first`);
    const instance = await families.open(first, 'create', { files });
    await applyToInstance(instance, { ...appendOf(0n, 5), meta: { term: 2n, votedFor: voteA } });
    await applyToInstance(instance, { snapshot: snapshotOf(2n, 'two') });
    await instance.close();
    await use({ root, first });
  } finally {
    await rm(root, { recursive: true });
  }
}

describe('a machine with its real disk', () => {
  it('migrates a replica through rocksdb and sqlite back to its first paths [FAM-3] [CUT-1] [CUT-7]', async () => {
    await withMachine(async ({ root, first }) => {
      const context = machineContext(files, { root, families });
      const state = await dumpAt(first);
      const stations = [
        families.expand(`rocksdb://${root}/data/second`),
        families.expand(`sqlite://${root}/data/third`),
        first,
      ];
      let source = first;
      for (const [i, target] of stations.entries()) {
        const input = migrationInput(`m${i}`, { source, target });
        await new MachineDriver(context, { name: input.migrationId, input }).drive();
        expect(await dumpAt(target)).toEqual(state);
        source = target;
      }
    });
  });

  it.each(['rocksdb', 'sqlite'])(
    'rolls back to the first paths what the replica has written to %s [CUT-6] [I10]',
    async (scheme) => {
      await withMachine(async ({ root, first }) => {
        const target = families.expand(`${scheme}://${root}/data/second`);
        const driver = new MachineDriver(machineContext(files, { root, families }), {
          name: scheme,
          input: migrationInput('m1', { source: first, target }),
          rollbackAt: 'soak',
          duringSoak: () => writeAt(target, 5n),
        });
        await driver.drive();
        const record = await recordStoreOf(files, root).read();
        expect(record).toMatchObject({
          primary: { uris: first, parkedTag: null },
          lastEnded: { result: 'rolled-back' },
        });
        expect(await dumpAt(first)).toMatchObject({ firstIndex: 1n, lastIndex: 8n });
      });
    },
  );
});

describe('metadata in a LevelDB that groups share', () => {
  /** An instance of group `group` under `root`, whose metadata lies in the shared database. */
  function sharing(root: string, name: string, group: string): InstanceUris {
    return {
      log: `local://${root}/data/${name}/log`,
      meta: `local-merged://${root}/data/shared`,
      snapshot: `local://${root}/data/${name}/snapshot`,
      groupId: group,
    };
  }

  async function makeNeighbour(root: string): Promise<InstanceUris> {
    const uris = sharing(root, 'neighbour', 'g_2');
    const instance = await families.open(uris, 'create', { files });
    await applyToInstance(instance, { meta: { term: 9n, votedFor: voteA } });
    await instance.close();
    return uris;
  }

  it.each(['publish', 'validate', 'soak', null] as const)(
    'as the target, rolled back at %s: the group’s own key goes with the target, the neighbour’s stays [CUT-6] [I10]',
    async (rollbackAt) => {
      await withMachine(async ({ root, first }) => {
        const neighbour = await makeNeighbour(root);
        const [state, theirs] = [await dumpAt(first), await dumpAt(neighbour)];
        const target = sharing(root, 'second', 'g_1');
        const context = machineContext(files, { root, families });
        const drive = (id: string, at: typeof rollbackAt) =>
          new MachineDriver(context, {
            name: id,
            input: migrationInput(id, { source: first, target }),
            ...(at !== null && { rollbackAt: at }),
          }).drive();
        await drive('m1', rollbackAt);
        const kept = rollbackAt === null ? target : first;
        expect(await dumpAt(kept)).toEqual(state);
        expect(await dumpAt(neighbour)).toEqual(theirs);
        if (kept === target) return;
        // The target's places are free again: with a key left there, this would be refused.
        await drive('m2', null);
        expect(await dumpAt(target)).toEqual(state);
      });
    },
  );

  it('as the source, with what was written to the target: all of it moves back [CUT-6] [I10]', async () => {
    await withMachine(async ({ root, first }) => {
      const context = machineContext(files, { root, families });
      const shared = sharing(root, 'second', 'g_1');
      const neighbour = await makeNeighbour(root);
      const theirs = await dumpAt(neighbour);
      const input = migrationInput('m1', { source: first, target: shared });
      await new MachineDriver(context, { name: 'there', input }).drive();
      const target = families.expand(`rocksdb://${root}/data/third`);
      await new MachineDriver(context, {
        name: 'back',
        input: migrationInput('m2', { source: shared, target }),
        rollbackAt: 'soak',
        duringSoak: () => writeAt(target, 5n),
      }).drive();
      expect((await recordStoreOf(files, root).read())?.primary).toEqual({
        uris: shared,
        parkedTag: null,
      });
      expect(await dumpAt(shared)).toMatchObject({ lastIndex: 8n, meta: '["3",null,[]]' });
      expect(await dumpAt(neighbour)).toEqual(theirs);
    });
  });
});
