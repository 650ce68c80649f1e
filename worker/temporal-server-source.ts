/**
 * Where this machine's Temporal server comes from. The first that answers is taken:
 *
 * 1. `TEMPORAL_ADDRESS`, or a Temporal profile with an address: a server that runs already;
 * 2. the program that `QUORUMSHIFT_TEMPORAL_BIN` names;
 * 3. `temporal` on PATH;
 * 4. `bin/temporal` in the product's cache folder;
 * 5. Temporal's own download site, into that folder;
 * 6. `go install` of the same version, into that folder.
 *
 * The launchers in scripts/ and `quorumshift dev` share this one implementation.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { loadClientConfigProfile } from '@temporalio/envconfig';

import type { Log } from '../core/log.ts';
import { fail, messageOf } from '../core/errors.ts';
import { downloadTemporal, goInstallTemporal } from './temporal-binary.ts';
import { productCache } from './product-cache.ts';

/** A server that somebody else runs. */
export interface ExternalServer {
  readonly kind: 'external';
  /** `host:port` of its frontend. */
  readonly address: string;
  readonly foundBy: string;
}

/** A program that can start a development server here. */
export interface ServerBinary {
  readonly kind: 'binary';
  readonly binary: string;
  /** Of the server inside it; a database file belongs to one server version. */
  readonly serverVersion: string;
  readonly foundBy: string;
}

export interface ResolveOptions {
  readonly env: NodeJS.ProcessEnv;
  /**
   * Whether a server that runs already may be used. Tests never do: they start and kill their own.
   */
  readonly external: boolean;
  /** Whether to download or build one when none is found. */
  readonly install: boolean;
  /** Takes lines about what is being done, for people. */
  readonly log: Log;
}

/** A version answer takes milliseconds; a program that hangs longer is none of ours. */
const versionTimeoutMs = 10_000;

/**
 * The first usable server, in the order above.
 * @throws `temporal.no-server` naming what was tried; `config.invalid` for an unreadable profile
 */
export async function resolveTemporalServer(
  options: ResolveOptions,
): Promise<ExternalServer | ServerBinary> {
  if (options.external) {
    const address = configuredAddress(options.env);
    if (address !== null) return address;
  }
  return findTemporalBinary(options);
}

/**
 * The first usable program, in the order above, never a server that runs already.
 * @throws `temporal.no-server`
 */
export async function findTemporalBinary(
  options: Omit<ResolveOptions, 'external'>,
): Promise<ServerBinary> {
  const { env, install, log } = options;
  const tried: string[] = [];
  for (const { foundBy, path } of present(env)) {
    const found = await probe(path, foundBy);
    if (typeof found !== 'string') return found;
    tried.push(found);
    log(found);
  }
  const target = join(productCache(env), 'bin', 'temporal');
  for (const installer of install ? [downloadTemporal, goInstallTemporal] : []) {
    const problem = await installer({ target, env, log });
    const found = problem ?? (await probe(target, `installed to ${target}`));
    if (typeof found !== 'string') return found;
    tried.push(found);
    log(found);
  }
  throw fail('temporal.no-server', {
    tried: tried.join('; ') || 'none is on PATH or in the cache',
  });
}

function configuredAddress(env: NodeJS.ProcessEnv): ExternalServer | null {
  const given = Object.entries(env).filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  );
  try {
    const profile = loadClientConfigProfile({ overrideEnvVars: Object.fromEntries(given) });
    if (profile.address === undefined) return null;
    const foundBy = env['TEMPORAL_ADDRESS'] === undefined ? 'Temporal profile' : 'TEMPORAL_ADDRESS';
    return { kind: 'external', address: profile.address, foundBy };
  } catch (cause) {
    const reason = messageOf(cause);
    const file = env['TEMPORAL_CONFIG_FILE'] ?? 'temporal.toml';
    throw fail('config.invalid', { file, reason }, { cause });
  }
}

/** Programs that are there. A named one is tried even when absent, so that the error says so. */
function present(env: NodeJS.ProcessEnv): { foundBy: string; path: string }[] {
  const named = env['QUORUMSHIFT_TEMPORAL_BIN'];
  const onPath = (env['PATH'] ?? '')
    .split(delimiter)
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, 'temporal'));
  const cached = join(productCache(env), 'bin', 'temporal');
  return [
    ...(named === undefined ? [] : [{ foundBy: 'QUORUMSHIFT_TEMPORAL_BIN', path: named }]),
    ...onPath.filter(executable).map((path) => ({ foundBy: 'PATH', path })),
    ...[cached].filter(executable).map((path) => ({ foundBy: 'cache folder', path })),
  ];
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The program's server version, or what is wrong with it, in words. */
async function probe(path: string, foundBy: string): Promise<ServerBinary | string> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], {
      timeout: versionTimeoutMs,
    });
    const serverVersion = serverVersionOf(stdout);
    if (serverVersion === null) return `${path} (${foundBy}) answers "${stdout.trim()}"`;
    return { kind: 'binary', binary: path, serverVersion, foundBy };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return `${path} (${foundBy}) does not run: ${reason}`;
  }
}

/**
 * The server's version in the answer to `temporal --version`. One built by `go install` has no
 * version of its own: `temporal version 0.0.0-DEV (Server 1.29.1, UI 2.42.1)`.
 */
export function serverVersionOf(answer: string): string | null {
  return /^temporal version \S+ \(Server (\d+\.\d+\.\d+)/m.exec(answer)?.[1] ?? null;
}
