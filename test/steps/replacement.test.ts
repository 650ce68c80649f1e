import { describe, expect, it } from 'vitest';

import { contractVersion } from '../../core/ids.ts';
import { preflight } from '../../activities/preflight.ts';
import { agentConfigSchema } from '../../schemas/agent-config.ts';
import { migrationInputSchema, type MigrationInput } from '../../schemas/migration.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { machineContext, MachineDriver, migrationInput } from './machine-driver.ts';
import { recordStoreOf, treeOf } from './machine-invariants.ts';
import { makeSource, uriA, uriB } from './machine-scenarios.ts';

const input: MigrationInput = {
  ...migrationInput('m1', { source: uriA, target: uriA }),
  mode: 'binary',
};

const hook = { exec: ['true'] };

async function machine() {
  const files = new CrashFileLayer(1);
  await makeSource(files);
  return { files, before: await treeOf(files, '/data') };
}

/** Phases as they were done. */
async function drive(files: CrashFileLayer, rollbackAt?: 'stop' | 'replace' | 'start' | 'soak') {
  const driver = new MachineDriver(machineContext(files), {
    name: 'replacement',
    input,
    ...(rollbackAt !== undefined && { rollbackAt }),
  });
  const done: string[] = [];
  while (!driver.ended) {
    const call = await driver.next();
    done.push(call.kind === 'step' ? call.phase : call.kind);
    await driver.perform(call);
  }
  return done;
}

const way = ['own', 'stop', 'replace', 'start', 'probe', 'finalize'];
const back = ['rollback', 'rollback-stop', 'replace-back', 'start-back', 'probe-back'];

describe('a replacement of the program', () => {
  it('changes no byte of the storage, and neither primary nor generation [ROLL-1]', async () => {
    const { files, before } = await machine();
    expect(await drive(files)).toEqual(way);
    expect(await treeOf(files, '/data')).toEqual(before);
    expect(await recordStoreOf(files).read()).toMatchObject({
      generation: 0,
      primary: { uris: uriA, parkedTag: null },
      migration: null,
      lastEnded: { result: 'finalized', leftAside: [] },
    });
  });

  it.each(['stop', 'replace', 'start', 'soak'] as const)(
    'goes back from %s by the same steps, whatever was done [ROLL-6] [CUT-5]',
    async (phase) => {
      const { files, before } = await machine();
      const at = phase === 'soak' ? way.indexOf('finalize') : way.indexOf(phase);
      expect(await drive(files, phase)).toEqual([...way.slice(0, at), ...back]);
      expect(await treeOf(files, '/data')).toEqual(before);
      expect(await recordStoreOf(files).read()).toMatchObject({
        generation: 0,
        primary: { uris: uriA },
        lastEnded: { result: 'rolled-back' },
      });
    },
  );

  it('with another target is no valid input', () => {
    const { error } = migrationInputSchema.safeParse({ ...input, target: uriB });
    expect(error?.issues).toMatchObject([
      { path: ['target'], message: expect.stringContaining('must be the source') },
    ]);
  });
});

describe('preflight of a replacement', () => {
  async function refused(files: CrashFileLayer, hooks: Record<string, unknown>, asked = input) {
    const context = machineContext(files);
    const config = agentConfigSchema.parse({ ...context.config, hooks });
    const request = { contractVersion, agentId: context.agentId, replica: asked.replica };
    const answer = await preflight({ ...context, config }, { ...request, input: asked });
    expect(answer).toMatchObject({ mode: 'binary', bytes: 0 });
    return answer.findings
      .filter(({ ok }) => !ok)
      .map(({ check, measured }) => `${check}: ${measured}`);
  }

  const hooks = { stop: hook, replace: hook, start: hook, probe: hook };

  it('passes where all hooks are there and the instance opens [ROLL-2]', async () => {
    const { files } = await machine();
    expect(await refused(files, hooks)).toEqual([]);
  });

  it('names the hooks that are missing [ROLL-2]', async () => {
    const { files } = await machine();
    expect(await refused(files, { stop: hook, start: hook })).toEqual([
      'hooks configured: none for replace, probe',
    ]);
  });

  it('refuses a replica whose storage is not there, or belongs elsewhere [ROLL-2]', async () => {
    const { files } = await machine();
    expect(await refused(files, hooks, { ...input, source: uriB, target: uriB })).toEqual([
      expect.stringMatching(/^instance present: /),
    ]);
    const driver = new MachineDriver(machineContext(files), {
      name: 'other',
      input: migrationInput('other', { source: uriA, target: uriB }),
    });
    while (driver.memory.view?.phase !== 'copy') await driver.perform(await driver.next());
    expect(await refused(files, hooks)).toContainEqual(
      expect.stringMatching(/^replica free: migration other owns it, in phase copy/),
    );
  });

  it('takes one that is open for one that runs [ROLL-2]', async () => {
    const { files } = await machine();
    const { families } = machineContext(files);
    const instance = await families.open(uriA, 'read-write', { files });
    expect(await refused(files, hooks)).toEqual([]);
    await instance.close();
  });
});
