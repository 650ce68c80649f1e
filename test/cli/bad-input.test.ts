/** What a user gets wrong: each ends with code, cause, remedy and exit code, and makes nothing. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { unpackFixture } from '../local/braft-fixtures.ts';
import { missing } from '../setup/toolchain.ts';
import { program, runCli } from './run-cli.ts';

/** Nothing listens there. */
const noTemporal = { TEMPORAL_ADDRESS: '127.0.0.1:1' };

describe('what a user gets wrong', () => {
  let directory: string;
  let image: string;

  const at = (scheme: string, name: string) => `${scheme}://${join(directory, name)}`;

  /** Runs the command with `{dir}` filled in; checks that what it says is whole. */
  async function refusal(args: readonly string[]) {
    const filled = args.map((arg) => arg.replaceAll('{dir}', directory));
    const env = { ...noTemporal, QUORUMSHIFT_STATE_DIR: join(directory, 'state') };
    const text = await runCli(filled, { env });
    expect(text.stderr).toMatch(/^error \[[a-z.-]+\] .+\nwhat to do: .+\n$/);
    const json = await runCli([...filled, '-o', 'jsonl'], { env });
    expect(json.code).toBe(text.code);
    const said: unknown = JSON.parse(json.stderr);
    expect(said).toMatchObject({ t: 'error', message: expect.any(String) });
    return { code: text.code, said };
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'quorumshift-bad-'));
    unpackFixture('full-1', join(directory, 'a'));
    image = join(directory, 'a.qsi');
    expect((await runCli(['export', at('local', 'a'), '--image', image])).code).toBe(0);
    await writeFile(join(directory, 'empty.qsi'), '');
    await writeFile(join(directory, 'text.qsi'), 'this is text, and no image at all\n');
    await mkdir(join(directory, 'shared'));
    await writeFile(join(directory, 'shared/CURRENT'), 'MANIFEST-000001\n');
  });

  afterAll(() => rm(directory, { recursive: true, force: true }));

  test.each([
    ['an unknown command', ['shift'], /unknown command 'shift'/],
    ['an unknown option', ['inspect', '--no-such-option'], /--no-such-option/],
    ['an argument too many', ['inspect', 'local:///a', 'local:///b'], /too many arguments/],
    ['an option left out', ['approve', 'kv/n1'], /--proof/],
    ['a rate that is none', ['throttle', 'kv/n1', 'fast'], /size such as 64MiB/],
    ['a rate of nothing', ['throttle', 'kv/n1', '0'], /use "pause"/],
    ['a number that is none', ['list', '--limit', 'many'], /whole number/],
    ['a list of nothing', ['list', '--limit', '0'], /1 or more/],
    ['a port that is none', ['dev', '--port', '70000'], /must be a port/],
    [
      'a replacement with a target',
      ['start', 'kv/n1', '--host', 'm1', '--standalone', '--binary', '--target', 'local:///b'],
      /takes no target/,
    ],
    [
      'a replacement with a mode',
      ['start', 'kv/n1', '--host', 'm1', '--standalone', '--binary', '--mode', 'live'],
      /takes no --mode/,
    ],
    [
      'a replacement of what no record knows',
      ['start', 'kv/n1', '--host', 'm1', '--standalone', '--binary'],
      /--source is needed: no record at .*kv\/n1/,
    ],
    ['a name that is no replica', ['pause', 'n1'], /no replica/],
  ])('%s is a usage error, told as every other', async (_what, args, says) => {
    const { code, said } = await refusal(args);
    expect(code).toBe(2);
    expect(said).toMatchObject({ code: 'usage.invalid', message: expect.stringMatching(says) });
  });

  test.each([
    ['a file that is missing', 'none.qsi', 3, 'instance.missing'],
    ['a directory', 'a', 3, 'instance.missing'],
    ['an empty file', 'empty.qsi', 5, 'image.corrupt'],
    ['another file', 'text.qsi', 5, 'image.corrupt'],
  ])(
    '%s as the image: nothing is made for it [IMG-5] [BOOT-1]',
    async (_what, name, code, error) => {
      const before = await readdir(directory);
      const found = await refusal(['import', '--image', `{dir}/${name}`, 'rocksdb://{dir}/target']);
      expect(found).toMatchObject({ code, said: { code: error } });
      expect(await readdir(directory)).toEqual(before);
    },
  );

  test.each([
    ['an image without a directory', ['export', 'local://{dir}/a', '--image', '{dir}/no/x']],
    ['an instance below a file', ['import', '--image', '{dir}/a.qsi', 'sqlite://{dir}/a.qsi/b']],
    ['a place that cannot be made', ['import', '--image', '{dir}/a.qsi', 'rocksdb:///proc/none']],
  ])('%s: what the machine refused is no defect of ours', async (_what, args) => {
    const before = await readdir(directory);
    expect(await refusal(args)).toMatchObject({ code: 1, said: { code: 'io.failed' } });
    expect(await readdir(directory)).toEqual(before);
  });

  test('metadata inside the log is refused: one place would be two [CUT-7]', async () => {
    const target = ['local://{dir}/target', '--meta', 'local://{dir}/target/log/meta'];
    const found = await refusal(['import', '--image', '{dir}/a.qsi', ...target]);
    expect(found).toMatchObject({ code: 2, said: { code: 'uri.invalid' } });
    expect(await readdir(directory)).not.toContain('target');
  });

  test('a shared LevelDB that is damaged is said to be', async () => {
    const uris = ['--meta', 'local-merged://{dir}/shared', '--group', 'g_1'];
    const found = await refusal(['inspect', 'local://{dir}/a', ...uris]);
    expect(found).toMatchObject({ code: 5, said: { code: 'data.corrupt' } });
  });

  test('a database that is empty, or of another program, is said to be damaged', async () => {
    const { code } = await runCli(['import', '--image', image, at('sqlite', 'emptied')]);
    expect(code).toBe(0);
    await writeFile(join(directory, 'emptied/db/state.sqlite'), '');
    const found = await refusal(['inspect', 'sqlite://{dir}/emptied']);
    expect(found).toMatchObject({ code: 5, said: { code: 'data.corrupt' } });
  });

  test.each(['status', 'list', 'pause', 'resume', 'rollback', 'complete', 'abandon'])(
    '%s without Temporal: exit code 7, and what works without',
    async (command) => {
      const args = command === 'list' ? [] : ['kv/n1'];
      const yes = command === 'complete' ? ['--yes'] : [];
      const { code, stderr } = await runCli([command, ...args, ...yes], { env: noTemporal });
      expect(code).toBe(7);
      expect(stderr).toContain('error [temporal.unavailable]');
      expect(stderr).toContain('"status --local" works without');
    },
  );

  test('a replica whose record is missing, or damaged: exit codes 3 and 5', async () => {
    expect(await refusal(['status', '--local', 'kv/none'])).toMatchObject({
      code: 3,
      said: { code: 'record.missing' },
    });
    await mkdir(join(directory, 'damaged/replicas/kv/n1'), { recursive: true });
    await writeFile(join(directory, 'damaged/replicas/kv/n1/binding.json'), '{"format":');
    const from = ['--state-dir', '{dir}/damaged'];
    for (const args of [
      ['status', '--local', 'kv/n1', ...from],
      ['resume', '--from-record', 'kv/n1', ...from],
      ['import', '--image', '{dir}/a.qsi', 'sqlite://{dir}/target', ...from],
    ]) {
      expect(await refusal(args)).toMatchObject({ code: 5, said: { code: 'record.corrupt' } });
    }
    expect(await readdir(directory)).not.toContain('target');
    expect(await refusal(['repair-record', 'kv/n1', ...from])).toMatchObject({
      code: 5,
      said: { code: 'record.corrupt', message: expect.stringContaining('there is no copy') },
    });
  });
});

/** Types its first argument when the prompt has come, prints all, and ends as the command does. */
const onTerminal = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, typed = b'', False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if not typed and b'): ' in shown:
        typed = True
        os.write(terminal, sys.argv[1].encode())
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

describe.skipIf(missing('python3'))('the question of complete, on a terminal', () => {
  test.each([
    ['Ctrl-C', '\u0003', 'no name was typed, nothing is finalized'],
    ['Ctrl-D', '\u0004', 'no name was typed, nothing is finalized'],
    ['another name', 'kv/n2\r', '"kv/n2" is not kv/n1'],
  ])('answered by %s finalizes nothing, and says so', async (_what, typed, said) => {
    const command = [process.execPath, program, 'complete', 'kv/n1'];
    const child = spawn('python3', ['-c', onTerminal, typed, ...command], {
      env: { ...process.env, ...noTemporal },
    });
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
    const code = await new Promise<number | null>((done) => child.once('close', done));
    expect(shown).toContain('[usage.invalid]');
    expect(shown).toContain(said);
    expect(code).toBe(2);
  });
});
