/**
 * Gets the Temporal command line program, one pinned version, when the machine has none. Both ways
 * answer null when the program is at `target`, else what went wrong, in words. It appears there by
 * a rename, whole, so that two installations at once do no harm.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

import type { Log } from '../core/log.ts';

/** The newest one that `go install` can build; newer ones have replace directives. */
const temporalCliVersion = 'v1.5.1';

/** A source that has sent nothing for so long is passed over. */
const firstByteMs = 15_000;

/** Time between two lines of progress. */
const progressMs = 5_000;

/** The largest description of a download that is believed; the real one has some 200 bytes. */
const maxDescriptionBytes = 16 * 1024;

export interface InstallOptions {
  /** Where the program is to be. */
  readonly target: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
}

/**
 * Downloads from Temporal's site, the one that its SDKs use: it describes the archive for this
 * platform, then the archive is fetched. `QUORUMSHIFT_TEMPORAL_SITE` names a mirror of it.
 */
export async function downloadTemporal(options: InstallOptions): Promise<string | null> {
  const site = options.env['QUORUMSHIFT_TEMPORAL_SITE'] ?? 'https://temporal.download';
  const platform = process.platform;
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const url = `${site}/cli/${temporalCliVersion}?platform=${platform}&arch=${architecture}`;
  options.log(`downloading the Temporal server: ${url}`);
  return installBy(options, async (directory) => {
    const { archiveUrl, fileToExtract } = await describeDownload(url);
    const archive = join(directory, 'archive.tar.gz');
    await fetchTo(archiveUrl, archive, options.log);
    await promisify(execFile)('tar', ['-xzf', archive, '-C', directory, '--', fileToExtract]);
    return join(directory, fileToExtract);
  });
}

/** Builds with the Go toolchain, if there is one: 2.5 minutes on 2 cores. */
export async function goInstallTemporal(options: InstallOptions): Promise<string | null> {
  const module = `github.com/temporalio/cli@${temporalCliVersion}`;
  const { env, log } = options;
  log(`building the Temporal server: go install ${module}`);
  return installBy(options, async (directory) => {
    // Answers as soon as the module proxy does, or from Go's own cache.
    await promisify(execFile)('go', ['list', '-m', module], {
      cwd: directory,
      timeout: firstByteMs,
      env,
    });
    const target = module.replace('@', '/cmd/temporal@');
    await goInstall({ target, env: { ...env, GOBIN: directory }, log });
    return join(directory, 'temporal');
  });
}

/** Runs `make` in a scratch directory beside the target and moves what it made to its place. */
async function installBy(
  options: InstallOptions,
  make: (directory: string) => Promise<string>,
): Promise<string | null> {
  await mkdir(dirname(options.target), { recursive: true });
  const directory = await mkdtemp(join(dirname(options.target), '.incoming-'));
  try {
    await rename(await make(directory), options.target);
    return null;
  } catch (error) {
    return reasonOf(error);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ('code' in error && error.code === 'ENOENT') return `not possible: ${error.message}`;
  if ('killed' in error && error.killed === true) return `no answer within ${firstByteMs / 1000} s`;
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error.message.trim().split('\n').slice(-1)[0]}${cause}`;
}

interface DownloadDescription {
  readonly archiveUrl: string;
  readonly fileToExtract: string;
}

async function describeDownload(url: string): Promise<DownloadDescription> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of fetchBytes(url)) {
    bytes += chunk.length;
    if (bytes > maxDescriptionBytes) throw new Error(`${url} answers more than a description`);
    chunks.push(chunk);
  }
  const answer: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  if (!isDescription(answer)) throw new Error(`${url} does not describe a .tar.gz archive`);
  return answer;
}

function isDescription(value: unknown): value is DownloadDescription {
  if (typeof value !== 'object' || value === null) return false;
  if (!('archiveUrl' in value) || !('fileToExtract' in value)) return false;
  const { archiveUrl, fileToExtract } = value;
  if (typeof archiveUrl !== 'string' || typeof fileToExtract !== 'string') return false;
  return archiveUrl.endsWith('.tar.gz') && /^[\w.]+$/.test(fileToExtract);
}

async function fetchTo(url: string, path: string, log: Log): Promise<void> {
  const file = createWriteStream(path);
  let bytes = 0;
  const timer = setInterval(() => {
    log(`downloading … ${(bytes / 2 ** 20).toFixed(0)} MiB`);
  }, progressMs);
  try {
    for await (const chunk of fetchBytes(url)) {
      bytes += chunk.length;
      if (!file.write(chunk)) await once(file, 'drain');
    }
    await new Promise<void>((ended, failed) => {
      file.once('error', failed);
      file.end(ended);
    });
  } finally {
    clearInterval(timer);
    file.destroy();
  }
}

/** The body in pieces; gives up when the first, or any later one, takes longer than 15 s. */
async function* fetchBytes(url: string): AsyncGenerator<Buffer> {
  const silence = new AbortController();
  const giveUp = (): void => {
    silence.abort(new Error(`${url} sent nothing for ${firstByteMs / 1000} s`));
  };
  let timer = setTimeout(giveUp, firstByteMs);
  try {
    const response = await fetch(url, { signal: silence.signal });
    if (!response.ok || response.body === null) {
      throw new Error(`${url} answers ${response.status}`);
    }
    for await (const chunk of response.body) {
      clearTimeout(timer);
      timer = setTimeout(giveUp, firstByteMs);
      yield Buffer.from(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
}

async function goInstall(options: {
  readonly target: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
}): Promise<void> {
  const { target, env, log } = options;
  const child = spawn('go', ['install', '-v', target], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const start = performance.now();
  let lines = 0;
  let last = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const parts = text.split('\n').filter((line) => line !== '');
    lines += parts.length;
    last = parts.at(-1) ?? last;
  });
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    log(`go install … ${seconds} s, ${lines} modules and packages, now ${last}`);
  }, progressMs);
  try {
    await new Promise<void>((built, failed) => {
      child.once('error', failed);
      child.once('close', (code) => {
        if (code === 0) built();
        else failed(new Error(`go install ended with ${code}: ${last}`));
      });
    });
  } finally {
    clearInterval(timer);
  }
}
