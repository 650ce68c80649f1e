import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { resolveTemporalServer } from '../../worker/temporal-server-source.ts';

const release = 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)';
const goBuilt = 'temporal version 0.0.0-DEV (Server 1.29.1, UI 2.42.1)';

let scratch: string;
let site: Server | undefined;
let lines: string[];

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'quorumshift-source-'));
  lines = [];
});

afterEach(async () => {
  site?.close();
  site = undefined;
  await rm(scratch, { recursive: true, force: true });
});

/** A program that answers `text`, in a directory of its own. */
async function program(options: { directory: string; name: string; script: string }) {
  const { directory, name, script } = options;
  const path = join(scratch, directory, name);
  await mkdir(join(scratch, directory), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

function temporal(directory: string, answer: string): Promise<string> {
  return program({ directory, name: 'temporal', script: `echo '${answer}'` });
}

/** No servers but those that the test makes. `sh` and `tar` stay reachable. */
function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  return {
    HOME: scratch,
    PATH: join(scratch, 'path'),
    QUORUMSHIFT_CACHE: join(scratch, 'cache'),
    QUORUMSHIFT_TEMPORAL_SITE: 'http://127.0.0.1:1',
    TEMPORAL_CONFIG_FILE: join(scratch, 'temporal.toml'),
    ...extra,
  };
}

function resolve(env: NodeJS.ProcessEnv, options: { external?: boolean; install?: boolean } = {}) {
  const { external = true, install = false } = options;
  return resolveTemporalServer({ env, external, install, log: (line) => lines.push(line) });
}

describe('a server that runs already', () => {
  test('TEMPORAL_ADDRESS is taken before every program', async () => {
    await temporal('path', release);
    const found = await resolve(environment({ TEMPORAL_ADDRESS: 'temporal.internal:7233' }));
    expect(found).toMatchObject({ kind: 'external', address: 'temporal.internal:7233' });
  });

  test('the address of a Temporal profile is taken', async () => {
    const env = environment();
    const profile = '[profile.default]\naddress = "cloud.example:7233"\n';
    await writeFile(join(scratch, 'temporal.toml'), profile);
    expect(await resolve(env)).toMatchObject({ kind: 'external', address: 'cloud.example:7233' });
  });

  test('a profile that cannot be read is an error, not "no profile"', async () => {
    await writeFile(join(scratch, 'temporal.toml'), '[profile.default\n');
    await expect(resolve(environment())).rejects.toMatchObject({ code: 'config.invalid' });
  });

  test('whoever starts and kills servers never gets it', async () => {
    const path = await temporal('path', release);
    const env = environment({ TEMPORAL_ADDRESS: 'temporal.internal:7233' });
    expect(await resolve(env, { external: false })).toMatchObject({ binary: path });
  });
});

describe('a program on this machine', () => {
  test('the named one is taken before PATH, PATH before the cache folder', async () => {
    const cached = await temporal('cache/bin', release);
    expect(await resolve(environment())).toMatchObject({ binary: cached });
    const onPath = await temporal('path', release);
    expect(await resolve(environment())).toMatchObject({ binary: onPath });
    const named = await temporal('named', release);
    const env = environment({ QUORUMSHIFT_TEMPORAL_BIN: named });
    expect(await resolve(env)).toMatchObject({ binary: named, serverVersion: '1.29.1' });
  });

  test('one built by go install, without a version of its own, is known by its server', async () => {
    const path = await temporal('path', goBuilt);
    expect(await resolve(environment())).toMatchObject({ binary: path, serverVersion: '1.29.1' });
  });

  test('another program of that name is passed over, and said so', async () => {
    await temporal('path', 'a workflow of another kind 3.0');
    const cached = await temporal('cache/bin', release);
    expect(await resolve(environment())).toMatchObject({ binary: cached });
    expect(lines.join()).toContain('a workflow of another kind');
  });

  test('none at all: the error names what was tried and the three ways to get one', async () => {
    const env = environment({ QUORUMSHIFT_TEMPORAL_BIN: join(scratch, 'absent') });
    await expect(resolve(env)).rejects.toMatchObject({
      code: 'temporal.no-server',
      message: expect.stringContaining('absent'),
      definition: { remedy: expect.stringMatching(/TEMPORAL_ADDRESS.*CLI.*Go/s) },
    });
  });
});

describe('nothing on this machine', () => {
  test('the download site is asked, and the program lands whole in the cache folder', async () => {
    const path = await serveArchive();
    const found = await resolve(path, { install: true });
    const cached = join(scratch, 'cache', 'bin', 'temporal');
    expect(found).toMatchObject({ binary: cached, serverVersion: '1.29.1' });
    expect(await readdir(join(scratch, 'cache', 'bin'))).toEqual(['temporal']);
  });

  test('a site that is down is passed over, and Go builds the pinned version', async () => {
    const calls = join(scratch, 'calls');
    const script = [
      `echo "$@" >> ${calls}`,
      `if [ "$1" = list ]; then exit 0; fi`,
      `printf '#!/bin/sh\\necho "${goBuilt}"\\n' > "$GOBIN/temporal"`,
      `/bin/chmod +x "$GOBIN/temporal"`,
    ].join('\n');
    await program({ directory: 'path', name: 'go', script });
    const found = await resolve(environment(), { install: true });
    expect(found).toMatchObject({ binary: join(scratch, 'cache', 'bin', 'temporal') });
    expect(await readFile(calls, 'utf8')).toBe(
      'list -m github.com/temporalio/cli@v1.5.1\n' +
        'install -v github.com/temporalio/cli/cmd/temporal@v1.5.1\n',
    );
    expect(lines.join()).toContain('fetch failed');
  });

  test('neither site nor Go: nothing is left in the cache folder', async () => {
    const answer = resolve(environment(), { install: true });
    await expect(answer).rejects.toMatchObject({ code: 'temporal.no-server' });
    expect(await readdir(join(scratch, 'cache', 'bin'))).toEqual([]);
  });
});

/** A download site with an archive of a program; answers the environment that names it. */
async function serveArchive(): Promise<NodeJS.ProcessEnv> {
  await temporal('archive', release);
  const archive = join(scratch, 'archive.tar.gz');
  execFileSync('tar', ['-czf', archive, '-C', join(scratch, 'archive'), 'temporal']);
  const bytes = await readFile(archive);
  const server = createServer((request, response) => {
    const base = `http://${request.headers.host}`;
    if (request.url === '/archive.tar.gz') return response.end(bytes);
    const archiveUrl = `${base}/archive.tar.gz`;
    return response.end(JSON.stringify({ archiveUrl, fileToExtract: 'temporal' }));
  });
  site = server;
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('no TCP address');
  return environment({
    PATH: process.env['PATH'] ?? '',
    QUORUMSHIFT_TEMPORAL_SITE: `http://127.0.0.1:${address.port}`,
  });
}
