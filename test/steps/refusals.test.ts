import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { AgentContext } from '../../activities/agent-context.ts';
import { own } from '../../activities/own.ts';
import { preflight } from '../../activities/preflight.ts';
import { contractVersion } from '../../core/ids.ts';
import { inputDigest } from '../../schemas/input-digest.ts';
import type { MigrationInput } from '../../schemas/migration.ts';
import { writeFence } from '../../storage/binding/fence-file.ts';
import type { RecordStore } from '../../storage/binding/record-store.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { appendOf, voteA } from '../../storage/testing/conformance-env.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';
import { machineContext, MachineDriver, migrationInput } from './machine-driver.ts';
import { recordStoreOf } from './machine-invariants.ts';

const families = defaultFamilies();
const files = nodeFileLayer;
const neighbour = { cluster: 'c1', member: 'm2' };

interface Machine {
  readonly context: AgentContext;
  /** From the replica's directory to `name`. */
  input(name: string, id?: string): MigrationInput;
  at(name: string): string;
  readonly store: RecordStore;
}

/** A machine on the real disk, with a replica of five entries at `first`. */
async function withMachine(use: (machine: Machine) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'quorumshift-refusals-'));
  try {
    await mkdir(join(root, 'data'));
    const at = (name: string) => join(root, 'data', name);
    const source = families.expand(`local://${at('first')}`);
    const instance = await families.open(source, 'create', { files });
    await applyToInstance(instance, { ...appendOf(0n, 5), meta: { term: 2n, votedFor: voteA } });
    await instance.close();
    const context = machineContext(files, { root, families });
    const input = (name: string, id = 'm1') =>
      migrationInput(id, { source, target: families.expand(`rocksdb://${at(name)}`) });
    await use({ context, input, at, store: recordStoreOf(files, root) });
  } finally {
    await rm(root, { recursive: true });
  }
}

async function refused(context: AgentContext, input: MigrationInput): Promise<string[]> {
  const { agentId } = context;
  const { replica } = input;
  const { findings } = await preflight(context, { contractVersion, agentId, replica, input });
  return findings.filter(({ ok }) => !ok).map(({ check, measured }) => `${check}: ${measured}`);
}

async function driveUntilSoak(context: AgentContext, input: MigrationInput) {
  const driver = new MachineDriver(context, { name: 'until soak', input });
  while (driver.memory.view?.phase !== 'soak') await driver.perform(await driver.next());
  return driver;
}

describe('a place that belongs to another replica', () => {
  it('as its primary is refused by preflight and cannot be owned [CUT-1] [ROLL-2]', async () => {
    await withMachine(async ({ context, input }) => {
      const first = input('second');
      await new MachineDriver(context, { name: 'first', input: first }).drive();
      const wrong = { ...input('third', 'm2'), source: first.target, replica: neighbour };
      expect(await refused(context, wrong)).toContainEqual(
        expect.stringMatching(/^replica free: .*c1\/m1/),
      );
      const driver = new MachineDriver(context, { name: 'wrong', input: wrong });
      await expect(driver.perform(await driver.next())).rejects.toMatchObject({
        code: 'instance.named-by-record',
      });
    });
  });

  it.each([
    ['by another path', 'source', 'link/second'],
    ['by a path inside it', 'target', 'second/inner'],
    ['by its parked name', 'source', 'first/log.quorumshift-m1-source'],
  ] as const)(
    'named %s is refused all the same [CUT-1] [CUT-7] [ROLL-2]',
    async (_how, side, name) => {
      await withMachine(async ({ context, input, at }) => {
        await symlink(at('.'), at('link'));
        await driveUntilSoak(context, input('second'));
        const free = { ...input('third', 'm2'), replica: neighbour };
        const wrong = { ...free, [side]: families.expand(`rocksdb://${at(name)}`) };
        expect(await refused(context, wrong)).toContainEqual(
          expect.stringMatching(/^replica free: .*c1\/m1/),
        );
        const driver = new MachineDriver(context, { name: 'wrong', input: wrong });
        await expect(driver.perform(await driver.next())).rejects.toMatchObject({
          code: 'instance.named-by-record',
        });
      });
    },
  );

  it('that takes it at the same time leaves it to one of the two [CUT-1] [I13]', async () => {
    await withMachine(async ({ context, input, at }) => {
      const theirs = families.expand(`local://${at('theirs')}`);
      await (await families.open(theirs, 'create', { files })).close();
      const other = { ...input('second'), source: theirs, replica: neighbour };
      const taken = await Promise.allSettled(
        [input('second'), other].map((wished) =>
          own(context, {
            agentId: context.agentId,
            input: wished,
            inputDigest: inputDigest(wished),
            claim: 'claim-1',
            expectedLease: 0,
          }),
        ),
      );
      expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(taken.find(({ status }) => status === 'rejected')).toMatchObject({
        reason: { code: 'instance.named-by-record' },
      });
    });
  });

  it('and is fenced for it is no empty target [CUT-7] [ROLL-2]', async () => {
    await withMachine(async ({ context, input, at }) => {
      await writeFence(files, at('second'), {
        replica: 'c1/m2',
        migration: 'theirs',
        parked: `${at('second')}-parked`,
        holds: 'nothing',
      });
      expect(await refused(context, input('second'))).toContainEqual(
        expect.stringMatching(/^target empty: .*reserved by migration theirs of c1\/m2/),
      );
      expect(await refused(context, input('third'))).toEqual([]);
    });
  });

  it('and is fenced for it is no source: whose fence it is, and where the data lies, is said [CUT-7] [ROLL-2]', async () => {
    await withMachine(async ({ context, input, at }) => {
      const { path, parked } = { path: at('first/log'), parked: `${at('first/log')}-parked` };
      await rename(path, parked);
      const owner = { replica: 'c1/m2', migration: 'theirs' };
      await writeFence(files, path, { ...owner, parked, holds: 'directory' });
      expect(await refused(context, input('second'))).toContainEqual(
        expect.stringMatching(
          /^source readable: .*one of theirs for replica c1\/m2 does, the data is in .*-parked/,
        ),
      );
    });
  });
});

describe('an instance in the memory of a process', () => {
  it.each(['source', 'target'] as const)(
    'is refused as %s: it would be gone with the agent [BOOT-5] [ROLL-2]',
    async (side) => {
      await withMachine(async ({ context, input }) => {
        const wrong = { ...input('second'), [side]: families.expand('memory://gone') };
        expect(await refused(context, wrong)).toEqual([
          expect.stringMatching(/^places durable: "memory:\/\/gone" is memory/),
        ]);
      });
    },
  );
});

describe('a source whose vote is lost', () => {
  it('opens to be read, and is refused by preflight: a node would vote again [FAM-10] [I4]', async () => {
    await withMachine(async ({ context, input, at }) => {
      const first = input('second');
      expect(await refused(context, first)).toEqual([]);
      await rm(at('first/raft_meta'), { recursive: true });
      const instance = await families.open(first.source, 'read-only', { files });
      expect(instance.hazards).toEqual([expect.stringContaining('has forgotten its vote')]);
      await instance.close();
      expect(await refused(context, first)).toEqual([
        expect.stringMatching(/^state consistent: .*has forgotten its vote/),
      ]);
    });
  });
});

describe('a source whose snapshot no node could load', () => {
  it('is refused by preflight, by name, and by a writer [FAM-10] [ROLL-2]', async () => {
    await withMachine(async ({ context, input, at }) => {
      const first = input('second');
      const snapshot = at('first/snapshot/snapshot_00000000000000000003');
      await mkdir(snapshot, { recursive: true });
      const table = join(snapshot, '__raft_snapshot_meta');
      await writeFile(table, Buffer.from('00000001ff', 'hex'));
      expect(await refused(context, first)).toEqual([
        expect.stringMatching(/^state consistent: .*__raft_snapshot_meta.*does not start/),
      ]);
      await expect(families.open(first.source, 'read-write', { files })).rejects.toMatchObject({
        code: 'data.corrupt',
        message: expect.stringContaining(table),
      });
    });
  });
});

describe('a replica that another migration owns', () => {
  it('is refused by preflight and cannot be owned; ended elsewhere, it must begin there [OPS-5] [ROLL-2]', async () => {
    await withMachine(async ({ context, input }) => {
      const driver = await driveUntilSoak(context, input('second'));
      const other = input('third', 'm2');
      expect(await refused(context, other)).toContainEqual(
        expect.stringMatching(/^replica free: .*migration m1 owns it, in phase soak/),
      );
      const late = new MachineDriver(context, { name: 'other', input: other });
      await expect(late.perform(await late.next())).rejects.toMatchObject({
        code: 'record.conflict',
      });
      await driver.drive();
      expect(await refused(context, other)).toContainEqual(
        expect.stringMatching(/^replica free: .*its primary is rocksdb:/),
      );
    });
  });
});

describe('finalize', () => {
  it('that does not find the target is refused before it is final: rollback stays possible [CUT-6] [CUT-8]', async () => {
    await withMachine(async ({ context, input, at, store }) => {
      const driver = await driveUntilSoak(context, input('second'));
      await rename(at('second'), at('away'));
      await expect(driver.perform(await driver.next())).rejects.toMatchObject({
        code: 'fence.unexpected',
      });
      const record = await store.read();
      expect(record?.migration?.phase).toBe('soak');
      await rename(at('away'), at('second'));
      const { lease, step } = { lease: record?.lease ?? 0, step: driver.memory.step };
      await driver.perform({ kind: 'rollback', lease, step: step + 1 });
      await driver.drive();
      expect((await store.read())?.lastEnded?.result).toBe('rolled-back');
    });
  });

  it('once begun, be it that it cannot go on, leaves no rollback to decide [CUT-8]', async () => {
    await withMachine(async ({ context, input, at, store }) => {
      const driver = await driveUntilSoak(context, input('second'));
      const obstacle = at('first/log.quorumshift-retired-m1');
      await mkdir(join(obstacle, 'foreign'), { recursive: true });
      await expect(driver.perform(await driver.next())).rejects.toThrow('ENOTEMPTY');
      const { lease = 0, migration } = (await store.read()) ?? {};
      expect(migration?.phase).toBe('finalize');
      const wish = { kind: 'rollback', lease, step: driver.memory.step + 2 } as const;
      await expect(driver.perform(wish)).rejects.toMatchObject({
        code: 'migration.illegal-action',
      });
      await rm(obstacle, { recursive: true });
      await driver.perform(await driver.next(), 2);
      expect((await store.read())?.lastEnded?.result).toBe('finalized');
      await expect(driver.perform(wish)).rejects.toMatchObject({ code: 'record.superseded' });
    });
  });
});
