import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { access, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  killPreviousHook,
  runHook,
  waitForPreviousHook,
  type HookRun,
} from '../../activities/hook-runner.ts';
import { makeDirectories } from '../../storage/files.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';

let directory: string;
let ledgerPath: string;
const files = nodeFileLayer;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hooks-'));
  ledgerPath = join(directory, 'hooks.json');
});

afterEach(async () => {
  await killPreviousHook({ files, ledgerPath, graceMs: 0 });
  await rm(directory, { recursive: true });
});

function shell(script: string, options: Partial<HookRun> = {}): HookRun {
  return {
    hook: 'stop',
    replica: 'c1/m1',
    command: '/bin/sh',
    args: ['-c', script],
    env: {},
    timeoutMs: 20_000,
    graceMs: 100,
    ledgerPath,
    files,
    ...options,
  };
}

/** Waits for the marker file and gives its text. */
function marker(name: string): Promise<string> {
  return vi.waitFor(
    async () => {
      const text = await readFile(join(directory, name), 'utf8');
      if (text === '') throw new Error('empty as yet');
      return text.trim();
    },
    { timeout: 10_000, interval: 10 },
  );
}

async function exists(name: string): Promise<boolean> {
  return access(join(directory, name)).then(
    () => true,
    () => false,
  );
}

/** A zombie, which its new parent has yet to collect, is not alive. */
function isAlive(pid: string | number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text[text.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
}

describe('a hook', () => {
  it('runs with its arguments and variables, and gives back what it printed last', async () => {
    const run = shell('echo "$1 $GIVEN"; echo warning >&2', { env: { GIVEN: 'value' } });
    const result = await runHook({ ...run, args: [...run.args, 'sh', 'two words'] });
    expect(result).toMatchObject({ stdoutTail: 'two words value\n', stderrTail: 'warning\n' });
    expect(result.durationMs).toBeGreaterThan(0);
    const long = await runHook(shell('yes 12345678 | head -c 100000; echo end'));
    expect(long.stdoutTail).toHaveLength(4096);
    expect(long.stdoutTail.endsWith('end\n')).toBe(true);
  });

  it('that prints without end leaves the end of it, and tells that when it fails', async () => {
    const noise = 'yes 12345678 | head -c 36000000';
    // What is printed in the very moment of a cut may be lost: its last words come a while later.
    const words = 'sleep 1; echo last line; echo why >&2; exit 3';
    const failing = shell(`${noise}; ${noise} >&2; ${words}`);
    await expect(runHook(failing)).rejects.toThrow(/exit code 3: .*345.*why$/s);
    const kept = await Promise.all(
      ['stdout', 'stderr'].map((name) => readFile(`${ledgerPath}.${name}`, 'utf8')),
    );
    expect(kept.map((text) => text.length)).toEqual([64 * 1024, 64 * 1024]);
    expect(kept[0]?.endsWith('last line\n')).toBe(true);
    expect(kept[1]?.endsWith('why\n')).toBe(true);
  });

  it('is cut short while it runs', async () => {
    const running = runHook(
      shell(`yes 12345678 | head -c 40000000; echo > ${directory}/printed; sleep 60`, {
        timeoutMs: 30_000,
      }),
    );
    const ended = running.catch((error: unknown) => error);
    await vi.waitFor(async () => {
      expect(await exists('printed')).toBe(true);
      expect((await stat(`${ledgerPath}.stdout`)).size).toBeLessThan(2 * 1024 * 1024);
    }, 25_000);
    await killPreviousHook({ files, ledgerPath, graceMs: 0 });
    await expect(ended).resolves.toHaveProperty('code', 'hook.failed');
  });

  it("does not see the agent's own variables", async () => {
    vi.stubEnv('TEMPORAL_API_KEY', 'secret');
    expect((await runHook(shell('env'))).stdoutTail).not.toContain('secret');
    expect((await runHook(shell('env'))).stdoutTail).toContain('PATH=');
    vi.unstubAllEnvs();
  });

  it.each([
    ['exit code 3: no such unit', shell('echo no such unit >&2; exit 3')],
    ['ended by SIGKILL', shell('kill -9 $$')],
  ])('that ends badly fails with "%s"', async (actual, run) => {
    const message = `Hook stop of c1/m1 must end with exit code 0: ${actual}`;
    await expect(runHook({ ...run, ledgerPath })).rejects.toMatchObject({
      code: 'hook.failed',
      message,
    });
  });

  it('that does not exist fails', async () => {
    const run = shell('', { command: join(directory, 'absent') });
    await expect(runHook(run)).rejects.toThrow('exit code 127');
  });

  it('that takes too long is killed with everything that it began [OPS-7]', async () => {
    const stubborn = `trap '' TERM; (trap '' TERM; echo $$ > ${directory}/first; sh -c 'echo $$ > ${directory}/below; sleep 60; sleep 60') & wait; sleep 60; sleep 60`;
    await expect(runHook(shell(stubborn, { timeoutMs: 3_000 }))).rejects.toMatchObject({
      code: 'hook.failed',
      message: expect.stringContaining('longer than 3000 ms'),
    });
    expect(isAlive(await marker('first'))).toBe(false);
    expect(isAlive(await marker('below'))).toBe(false);
    await runHook(shell('true'));
  });

  it('is killed when its attempt is cancelled, and the reason is thrown', async () => {
    const cancel = new AbortController();
    const running = runHook(
      shell(`echo $$ > ${directory}/pid; sleep 60`, { signal: cancel.signal }),
    );
    const pid = await marker('pid');
    cancel.abort(new Error('cancelled'));
    await expect(running).rejects.toThrow('cancelled');
    expect(isAlive(pid)).toBe(false);
    await expect(runHook(shell('true', { signal: cancel.signal }))).rejects.toThrow('cancelled');
  });

  it('that leaves a process behind ends, but the next one waits until that is gone [OPS-7]', async () => {
    await runHook(shell(`sleep 60 & echo $! > ${directory}/pid`));
    const pid = await marker('pid');
    expect(isAlive(pid)).toBe(true);
    await expect(runHook(shell(`touch ${directory}/second`))).rejects.toMatchObject({
      code: 'hook.still-running',
    });
    expect(await waitForPreviousHook({ files, ledgerPath, timeoutMs: 0 })).toBe(false);
    await killPreviousHook({ files, ledgerPath, graceMs: 100 });
    expect(isAlive(pid)).toBe(false);
    expect(await waitForPreviousHook({ files, ledgerPath, timeoutMs: 0 })).toBe(true);
    await runHook(shell(`touch ${directory}/third`));
    expect([await exists('second'), await exists('third')]).toEqual([false, true]);
  });

  it('that hands over to a session of its own does not hold up the next one', async () => {
    await runHook(shell(`setsid sh -c 'echo $$ > ${directory}/pid; exec sleep 60' &`));
    const pid = await marker('pid');
    await waitForPreviousHook({ files, ledgerPath, timeoutMs: 10_000 });
    await runHook(shell('true'));
    expect(isAlive(pid)).toBe(true);
    process.kill(Number(pid), 'SIGKILL');
  });

  it('never runs when it cannot be recorded [OPS-7]', async () => {
    const failing = new CrashFileLayer();
    await makeDirectories(failing, dirname(ledgerPath));
    failing.failAt({ operation: 'sync', code: 'EIO', nth: 1 });
    const run = shell(`touch ${directory}/ran`, { files: failing });
    await expect(runHook(run)).rejects.toThrow('EIO');
    await runHook(shell('true'));
    expect(await exists('ran')).toBe(false);
  });

  it('never runs when the guard of its step refuses [OPS-5]', async () => {
    const guard = () => Promise.reject(new Error('superseded'));
    await expect(runHook(shell(`touch ${directory}/ran`, { guard }))).rejects.toThrow('superseded');
    expect(await exists('ran')).toBe(false);
  });

  it.each([
    ['boot', { bootId: 'another' }],
    ['start time', { startTicks: '1' }],
  ])('recorded with another %s is gone, whoever has its pid now', async (_what, other) => {
    await runHook(shell('true'));
    const ledger = JSON.parse(await readFile(ledgerPath, 'utf8'));
    const stranger = spawn('/bin/sleep', ['60'], { detached: true, stdio: 'ignore' });
    const { pid = -1 } = stranger;
    const startTicks = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(' ')[21];
    const same = { ...ledger, pid, startTicks, gone: false };
    await writeFile(ledgerPath, JSON.stringify(same));
    await expect(runHook(shell('true'))).rejects.toMatchObject({ code: 'hook.still-running' });
    await writeFile(ledgerPath, JSON.stringify({ ...same, ...other }));
    await killPreviousHook({ files, ledgerPath, graceMs: 0 });
    await runHook(shell('true'));
    expect(isAlive(pid)).toBe(true);
    stranger.kill('SIGKILL');
  });
});

/** Runs `script` in a node process of its own with the runner at hand; its exit signal. */
async function inAgent(script: string): Promise<{ pid: number; ended: Promise<unknown> }> {
  const source = `
    import { runHook } from ${JSON.stringify(moduleUrl('activities/hook-runner.js'))};
    import { nodeFileLayer } from ${JSON.stringify(moduleUrl('storage/node-file-layer.js'))};
    const shell = (script, files) => runHook({ hook: 'stop', replica: 'c1/m1', command: '/bin/sh',
      args: ['-c', script], env: {}, timeoutMs: 60000, files,
      ledgerPath: ${JSON.stringify(ledgerPath)} });
    ${script}`;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return { pid: agent.pid ?? -1, ended: once(agent, 'exit') };
}

function moduleUrl(path: string): string {
  return new URL(`../../${path}`, import.meta.url).href;
}

describe('an agent that is killed', () => {
  it('after the record, before the gate opens, has run nothing [OPS-1] [OPS-7]', async () => {
    const { ended } = await inAgent(`
      const dies = { ...nodeFileLayer, syncDirectory: () => process.kill(process.pid, 'SIGKILL') };
      await shell('touch ${directory}/ran', dies);`);
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(await waitForPreviousHook({ files, ledgerPath, timeoutMs: 10_000 })).toBe(true);
    expect(JSON.parse(await readFile(ledgerPath, 'utf8'))).toMatchObject({ gone: false });
    expect(await exists('ran')).toBe(false);
  });

  it('before the record has run nothing [OPS-1] [OPS-7]', async () => {
    const { ended } = await inAgent(`
      const dies = { ...nodeFileLayer, rename: () => process.kill(process.pid, 'SIGKILL') };
      await shell('touch ${directory}/ran', dies);`);
    expect(await ended).toEqual([null, 'SIGKILL']);
    await runHook(shell('true'));
    expect([await exists('hooks.json'), await exists('ran')]).toEqual([true, false]);
  });

  it('while the hook runs leaves it running, and its successor waits for it [OPS-7]', async () => {
    const agent = await inAgent(
      `await shell('echo $$ > ${directory}/pid; while [ ! -e ${directory}/go ]; do echo line; sleep 0.05; done; echo end > ${directory}/end', nodeFileLayer);`,
    );
    const pid = await marker('pid');
    process.kill(agent.pid, 'SIGKILL');
    await agent.ended;
    await expect(runHook(shell('true'))).rejects.toMatchObject({
      code: 'hook.still-running',
      details: { group: pid },
    });
    await writeFile(join(directory, 'go'), '');
    expect(await waitForPreviousHook({ files, ledgerPath, timeoutMs: 10_000 })).toBe(true);
    expect(await marker('end')).toBe('end');
    await runHook(shell('true'));
  });
});
