// What every launcher does first on a fresh machine: install what is missing, build, find a
// Temporal server. Plain Node without dependencies: it runs before node_modules exists.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Seconds between two signs of life of a silent child. */
const signOfLifeSeconds = 5;

/** A failure whose cause is on the screen already, or whose message says it all: no stack. */
export class LauncherError extends Error {}

/**
 * Ends the process with one clear line for a {@link LauncherError}, with the stack for the rest.
 */
export async function launch(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof LauncherError ? error.message : error);
    process.exitCode = 1;
  }
}

/** @throws LauncherError when this Node is older than package.json's "engines" */
export function requireNode() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wanted = manifest.engines.node.replace('>=', '');
  const [major, minor] = wanted.split('.').map(Number);
  const [ownMajor, ownMinor] = process.versions.node.split('.').map(Number);
  if (ownMajor > major || (ownMajor === major && ownMinor >= minor)) return;
  throw new LauncherError(
    `Node ${process.versions.node} is too old: quorumshift needs ${wanted} or newer (nodejs.org).`,
  );
}

/** Runs `work` as a named part and prints how long it took. */
export async function part(name, work) {
  const start = performance.now();
  const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
  console.log(`== ${name}`);
  try {
    const result = await work();
    console.log(`== ${name}: ${seconds()} s`);
    return result;
  } catch (error) {
    console.log(`== ${name}: failed after ${seconds()} s`);
    throw error;
  }
}

/**
 * Runs a program with its output on the screen; resolves to its exit code. With `signOfLife` a line
 * says every few seconds that it is still running.
 */
export async function run(command, args, { env = {}, signOfLife = '' } = {}) {
  const child = spawn(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  const start = performance.now();
  const timer = setInterval(() => {
    if (signOfLife === '') return;
    console.log(`   ${signOfLife} … ${Math.round((performance.now() - start) / 1000)} s`);
  }, signOfLifeSeconds * 1000);
  // The terminal sends Ctrl-C to the child as well: wait for its own orderly end.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
    });
  } finally {
    process.off('SIGINT', ignore);
    clearInterval(timer);
  }
}

/** The path of a package's program, run by this same Node. */
export function program(relative) {
  return join(root, 'node_modules', relative);
}

/** Runs one of our development tools; throws when it fails. */
export async function tool(relative, args) {
  const code = await run(process.execPath, [program(relative), ...args]);
  if (code !== 0) throw new LauncherError(`${relative} ${args.join(' ')} ended with ${code}`);
}

/**
 * Whether node_modules holds what package-lock.json asks for. npm writes its own record of what it
 * installed as its last step, so an interrupted installation has none.
 */
function installed() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const packagesOf = (path) => JSON.parse(readFileSync(path, 'utf8')).packages;
  const present = packagesOf(record);
  return Object.entries(packagesOf(join(root, 'package-lock.json'))).every(([path, wanted]) => {
    if (path === '') return true;
    const found = present[path];
    // Packages for other platforms are optional and left out.
    if (found === undefined) return wanted.optional === true || wanted.devOptional === true;
    return found.version === wanted.version && found.integrity === wanted.integrity;
  });
}

/** `npm ci`, only when something is missing or package-lock.json has changed. */
export async function install() {
  if (installed()) return;
  await part('install packages (npm ci)', async () => {
    const code = await run('npm', ['ci', '--no-audit', '--no-fund'], {
      signOfLife: 'npm is installing',
    });
    if (code !== 0) throw new LauncherError('npm ci failed: see above. Is the registry reachable?');
  });
}

export async function build() {
  await part('build (tsc)', () => tool('typescript/bin/tsc', ['-p', '.']));
  await part('build (workflow bundle)', async () => {
    const code = await run(process.execPath, [join(root, 'scripts', 'bundle.mjs')]);
    if (code !== 0) throw new LauncherError('The workflow code could not be bundled: see above.');
  });
}

/**
 * A Temporal server for this machine, in the order that worker/temporal-server-source.ts gives;
 * installs a binary when there is none. Needs the build.
 * @returns {Promise<{ address: string } | { binary: string }>}
 */
export async function temporal({ external }) {
  return part('Temporal server', async () => {
    const compiled = join(root, 'dist', 'worker', 'temporal-server-source.js');
    const { resolveTemporalServer } = await import(pathToFileURL(compiled).href);
    const log = (line) => console.log(`   ${line}`);
    const source = await resolveTemporalServer({ env: process.env, external, install: true, log });
    if (source.kind === 'external') {
      log(`server at ${source.address} (${source.foundBy})`);
      return { address: source.address };
    }
    log(`${source.binary}: server ${source.serverVersion} (${source.foundBy})`);
    return { binary: source.binary };
  });
}

/** Whether a program of this name is on PATH. */
export function onPath(name) {
  const directories = (process.env.PATH ?? '').split(delimiter).filter((path) => path !== '');
  return directories.some((directory) => existsSync(join(directory, name)));
}

/** Environment that hands a found server on to what a launcher starts. */
export function temporalEnvironment(server) {
  return 'binary' in server
    ? { QUORUMSHIFT_TEMPORAL_BIN: server.binary }
    : { TEMPORAL_ADDRESS: server.address };
}
