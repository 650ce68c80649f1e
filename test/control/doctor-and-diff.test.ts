/** `doctor` and `inventory diff`, against a real agent, as users run them. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import proto from '@temporalio/proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { searchAttributeNames } from '../../core/search-attributes.ts';
import { MigrationEnvironment, eventually } from '../e2e/migration-environment.ts';
import { runCli } from '../e2e/run-cli.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';

interface Said {
  readonly checks: readonly { check: string; ok: boolean; measured: string; remedy: string }[];
  readonly differences: readonly { kind: string; replica: string; reported: string | null }[];
}

/** As the server's API has it: its int64 are objects. */
function duration(seconds: number) {
  return proto.google.protobuf.Duration.fromObject({ seconds });
}

describe.skipIf(missing('temporal'))('a machine and its inventory', () => {
  let environment: MigrationEnvironment;
  let inventory: string;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    inventory = join(environment.root, 'inventory.yaml');
    await environment.start('control');
    await environment.start('agent');
    const source = await environment.unpack('full-1', 'a');
    const target = environment.uri('sqlite', 'b');
    await environment.client.start(environment.input({ source, target }));
    expect((await environment.outcome()).outcome).toBe('finalized');
  });

  afterAll(() => environment.close());

  /** With the environment's replica at `source`, and whatever else. */
  async function declare(source: string, more = ''): Promise<void> {
    const { host, replica } = environment;
    const member = `${replica.member}: { host: ${host}, source: "${source}" }`;
    const text = `version: 1\nclusters:\n  kv:\n    members:\n      ${member}\n${more}`;
    await writeFile(inventory, text);
  }

  async function ask(...args: string[]): Promise<{ code: number | null; said: Said }> {
    const { code, stdout, stderr } = await runCli(environment, [...args, '-o', 'json']);
    if (stdout === '') throw new Error(stderr);
    const said: Said = JSON.parse(stdout);
    return { code, said };
  }

  test('diff: as declared', async () => {
    await declare(environment.uri('sqlite', 'b'));
    const { code, said } = await ask('inventory', 'diff', inventory);
    expect({ code, differences: said.differences }).toEqual({ code: 0, differences: [] });
  });

  test('diff: elsewhere, of no record, on a machine that does not answer, and what is not declared', async () => {
    const { host } = environment;
    const other = `      other: { host: ${host}, source: "local:///other" }
  away:
    members:
      n1: { host: no-such-machine, source: "local:///away" }
`;
    await declare(environment.uri('local', 'a'), other);
    const { code, said } = await ask('inventory', 'diff', inventory);
    expect(code).toBe(4);
    const { member } = environment.replica;
    expect(said.differences).toMatchObject([
      {
        kind: 'elsewhere',
        replica: `kv/${member}`,
        reported: expect.stringMatching(/^sqlite:\/\/.*\/b/),
      },
      { kind: 'no-record', replica: 'kv/other' },
      { kind: 'unknown', replica: 'away/n1', note: expect.stringContaining('did not answer') },
    ]);

    await writeFile(
      inventory,
      `version: 1\nclusters: { kv: { members: { other: { host: ${host}, source: "local:///other" } } } }`,
    );
    const undeclared = await ask('inventory', 'diff', inventory);
    expect(undeclared.code).toBe(4);
    expect(undeclared.said.differences).toMatchObject([
      { kind: 'no-record', replica: 'kv/other' },
      { kind: 'undeclared', replica: `kv/${member}` },
    ]);
    const part = await ask('inventory', 'diff', inventory, '--clusters', 'kv');
    expect(part.code).toBe(0);
  });

  test('diff: hundreds of replicas are asked for in pages', async () => {
    const root = join(environment.stateDir, 'replicas', 'many');
    for (let i = 0; i < 100; i += 1) await mkdir(join(root, `n${i}`), { recursive: true });
    await declare(environment.uri('sqlite', 'b'));
    const { said } = await ask('inventory', 'diff', inventory);
    expect(said.differences.filter(({ kind }) => kind === 'undeclared')).toHaveLength(100);
  });

  test('doctor: what is there is ok; a machine that is away, and an open state directory, are problems with a remedy', async () => {
    const { host, stateDir } = environment;
    const names = ['--host', `${host},no-such-machine`];
    await chmod(stateDir, 0o777);
    const { code, said } = await eventually('the control worker is listed', async () => {
      const answer = await ask('doctor', ...names);
      return answer.said.checks.some(({ check }) => check.startsWith('agent of')) && answer;
    });
    expect(code).toBe(8);
    const of = (name: string) => said.checks.find(({ check }) => check === name);
    expect(of('Temporal server')).toMatchObject({ ok: true });
    expect(of('search attributes')).toMatchObject({ ok: true });
    expect(of('control workers')).toMatchObject({ ok: true });
    expect(of(`agent of ${host}`)).toMatchObject({ ok: true });
    expect(of(`clock of ${host}`)).toMatchObject({ ok: true });
    expect(of(`release of ${host}`)).toMatchObject({ ok: true });
    expect(of('agent of no-such-machine')).toMatchObject({
      ok: false,
      remedy: expect.stringContaining('quorumshift agent'),
    });
    const directory = `permissions of the state directory of ${host}`;
    expect(of(directory)).toMatchObject({ ok: false, remedy: expect.stringContaining('chmod') });
    await chmod(stateDir, 0o700);
    const mended = await ask('doctor', '--host', host);
    expect(mended.said.checks.find(({ check }) => check === directory)).toMatchObject({ ok: true });
  });

  test('doctor: a namespace that is not there is named with the command that makes it', async () => {
    const { code, said } = await ask('doctor', '--namespace', 'no-such-namespace');
    expect(code).toBe(8);
    expect(said.checks.at(-1)).toMatchObject({
      ok: false,
      remedy: expect.stringContaining('temporal operator namespace create'),
    });
  });

  test('doctor: a namespace without search attributes and workers: the command that registers them', async () => {
    const namespace = `bare-${process.pid}`;
    await environment.temporal.connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: duration(86_400),
    });
    const checks = await eventually('the namespace is there', async () => {
      const { said } = await ask('doctor', '--namespace', namespace, '--host', environment.host);
      return said.checks.length > 2 && said.checks;
    });
    const problems = checks.filter(({ ok }) => !ok).map(({ check }) => check);
    expect(problems).toEqual(['search attributes', 'control workers', 'store worker']);
    const { remedy = '' } = checks.find(({ check }) => check === 'search attributes') ?? {};
    for (const name of searchAttributeNames)
      expect(remedy).toContain(`--name ${name} --type Keyword`);
  });
});
