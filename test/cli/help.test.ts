import { readFile } from 'node:fs/promises';

import { expect, test } from 'vitest';

import { runCli } from './run-cli.ts';

const commands = [
  ...['inspect', 'export', 'import', 'verify', 'plan', 'start', 'status', 'list', 'pause'],
  ...[
    'resume',
    'approve',
    'throttle',
    'rollback',
    'complete',
    'abandon',
    'dev',
    'discard',
    'journal',
    'repair-record',
    'inventory',
    'token',
    'audit',
    'doctor',
  ],
];

test('the program names every command', async () => {
  const { code, stdout } = await runCli(['--help']);
  expect(code).toBe(0);
  for (const command of commands)
    expect(stdout.toString()).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
});

test.each(['--version', '-V'])('%s prints the version of the package', async (option) => {
  const { code, stdout } = await runCli([option]);
  expect(code).toBe(0);
  const file = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  expect(JSON.parse(file)).toHaveProperty('version', stdout.toString().trim());
});

test.each(commands)('%s --help shows an example', async (command) => {
  const { code, stdout } = await runCli([command, '--help']);
  expect(code).toBe(0);
  expect(stdout.toString()).toMatch(new RegExp(`Examples?:\\n  quorumshift ${command} `));
});

test('an unknown option is a usage error: exit code 2', async () => {
  const { code, stderr } = await runCli(['inspect', '--no-such-option']);
  expect(code).toBe(2);
  expect(stderr).toContain('--no-such-option');
});
