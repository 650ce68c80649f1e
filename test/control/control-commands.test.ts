/** `inventory`, `token` and `audit`, as users run them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { openControlStore } from '../../control/control-store.ts';
import { runCli, jsonLines } from '../cli/run-cli.ts';

describe('commands of the control plane', () => {
  let root: string;
  let controlDir: string;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'quorumshift-commands-'));
    controlDir = join(root, 'control');
  });

  afterAll(() => rm(root, { recursive: true, force: true }));

  async function run(...args: string[]) {
    const answer = await runCli(args, { env: { QUORUMSHIFT_CONTROL_DIR: controlDir } });
    return { ...answer, stdout: answer.stdout.toString('utf8') };
  }

  test('a store that is not there is not made by looking at it', async () => {
    for (const args of [
      ['token', 'list'],
      ['token', 'revoke', 'ci'],
      ['audit', 'verify'],
      ['audit', 'export'],
    ]) {
      const { code, stderr } = await run(...args);
      expect(code).toBe(3);
      expect(stderr).toContain('error [store.unusable]');
      expect(stderr).toContain('it is not there');
    }
  });

  test('a token is made, listed and revoked; each change, and each refusal, is in the audit trail [I18]', async () => {
    const made = await run('token', 'create', 'ci', '--role', 'operate', '--expires', '12h');
    expect(made.code).toBe(0);
    const secret = /^qs_\S+$/m.exec(made.stdout)?.[0] ?? '';
    const again = await run('token', 'create', 'ci', '--role', 'view');
    expect(again.code).toBe(3);
    expect(again.stderr).toContain('error [token.exists]');

    const store = await openControlStore({ controlDir });
    expect(await store.tokens.verify(secret)).toMatchObject({ name: 'ci', role: 'operate' });
    const revoked = await run('token', 'revoke', 'ci', '--reason', 'it leaked');
    expect(revoked.code).toBe(0);
    expect(await store.tokens.verify(secret)).toBeNull();
    await store.close();

    const listed = await run('token', 'list', '-o', 'json');
    expect(listed.stdout).not.toContain(secret);
    expect(JSON.parse(listed.stdout)).toMatchObject({
      tokens: [{ name: 'ci', role: 'operate', state: 'revoked' }],
    });
    const { stdout } = await run('audit', 'list', '-o', 'jsonl');
    expect(jsonLines(Buffer.from(stdout))).toMatchObject([
      { action: 'token.revoke', outcome: 'done', reason: 'it leaked' },
      { action: 'token.revoke', outcome: null },
      { action: 'token.create', outcome: 'failed: token.exists' },
      { action: 'token.create', outcome: null },
      { action: 'token.create', outcome: 'done' },
      { action: 'token.create', outcome: null, subject: 'token/ci' },
    ]);
  });

  test('the store is found by the control plane’s configuration too', async () => {
    const config = join(root, 'control.yaml');
    await writeFile(config, `controlDir: ${controlDir}\n`);
    const env = { QUORUMSHIFT_CONTROL_CONFIG: config };
    const { stdout } = await runCli(['audit', 'verify', '-o', 'json'], { env });
    expect(JSON.parse(stdout.toString('utf8'))).toMatchObject({ ok: true, lines: 6 });
    await writeFile(config, 'controlDir: relative\n');
    const refused = await runCli(['audit', 'verify'], { env });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('line 1, column 1: controlDir');
  });

  test('an export is verified by itself, and against a head that was kept; altered it is refused', async () => {
    const exported = await run('audit', 'export');
    const file = join(root, 'audit.jsonl');
    await writeFile(file, exported.stdout);
    const verified = await run('audit', 'verify', '-o', 'json');
    const { head } = JSON.parse(verified.stdout) as { head: string };
    const offline = await run('audit', 'verify', '--file', file, '--expect', head);
    expect(offline.code).toBe(0);
    expect(offline.stdout).toContain(head);
    await writeFile(file, exported.stdout.replace('it leaked', 'it was old'));
    const altered = await run('audit', 'verify', '--file', file);
    expect(altered.code).toBe(5);
    expect(altered.stderr).toContain('error [audit.broken]');
    await writeFile(file, exported.stdout.split('\n').slice(0, 3).join('\n'));
    expect((await run('audit', 'verify', '--file', file)).code).toBe(0);
    expect((await run('audit', 'verify', '--file', file, '--expect', head)).code).toBe(5);
  });

  test.each([
    ['a lifetime that is none', ['token', 'create', 'a', '--role', 'view', '--expires', '0d']],
    ['a role that is none', ['token', 'create', 'a', '--role', 'root']],
    ['no role', ['token', 'create', 'a']],
    ['a name that is none', ['token', 'create', 'a b', '--role', 'view']],
    ['a head that is none', ['audit', 'verify', '--expect', '1']],
    ['a time that is none', ['audit', 'list', '--since', 'yesterday']],
    ['no label', ['inventory', 'show', 'examples/rollout/inventory.yaml', '--label', 'prod']],
  ])('%s is a usage error', async (_what, args) => {
    const { code, stderr } = await run(...args);
    expect(code).toBe(2);
    expect(stderr).toContain('error [usage.invalid]');
  });

  test('an inventory is validated with its policy: problems by line and column, for people and programs', async () => {
    const good = 'examples/rollout/inventory.yaml';
    const policy = ['--policy', 'examples/rollout/policy.yaml'];
    expect(await run('inventory', 'validate', good, ...policy)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('2 clusters, 6 members, 3 machines'),
    });
    const bad = join(root, 'bad.yaml');
    await writeFile(bad, 'version: 1\nclusters:\n  kv:\n    members:\n      n1: { hosts: m1 }\n');
    const text = await run('inventory', 'validate', bad);
    expect(text.code).toBe(2);
    expect(text.stdout).toContain('line 5, column 13: clusters.kv.members.n1.hosts: "hosts" is no');
    const json = await run('inventory', 'validate', bad, '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: false,
      problems: expect.arrayContaining([
        expect.objectContaining({ line: 5, path: ['clusters', 'kv', 'members', 'n1', 'hosts'] }),
      ]),
    });
    const collides = join(root, 'policy.yaml');
    await writeFile(collides, 'target: "local:///data/{cluster}"');
    const refused = await run('inventory', 'validate', good, '--policy', collides);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('error [rollout.invalid]');
    expect((await run('inventory', 'validate', join(root, 'none'))).code).toBe(2);
  });

  test('an inventory is shown, all of it or what is selected', async () => {
    const file = 'examples/rollout/inventory.yaml';
    const { stdout } = await run('inventory', 'show', file, '--label', 'env=production');
    expect(stdout.split('\n')[1]).toMatch(/^kv-orders +n1 +m1 +local +local:\/\/\/data\/kv-orders/);
    const all = await run('inventory', 'show', file, '-o', 'json');
    expect(JSON.parse(all.stdout)).toMatchObject({
      clusters: [{ cluster: 'kv-staging' }, { cluster: 'kv-orders' }],
    });
  });
});
