/**
 * A Temporal development server as a child process, for `quorumshift dev` and for tests. It listens
 * on the loopback interface alone and keeps its state in one SQLite file, synced on every commit:
 * what the server has acknowledged survives `kill -9` and a power loss. Production uses a Temporal
 * cluster or Temporal Cloud instead; only the address and credentials change.
 */
import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';

import { Connection } from '@temporalio/client';

import { fail, messageOf } from '../core/errors.ts';
import { portHolder, type PortHolder } from './port-holder.ts';
import { searchAttributeNames } from '../core/search-attributes.ts';

const loopback = '127.0.0.1';

/** A cold start takes 1–2 s; on a machine under full load ten times that was seen. */
const startTimeoutMs = 60_000;

/** Pause between two attempts to reach the starting server. */
const pollMs = 50;

/** Bytes of the server's last words that go into an error. */
const lastWordsBytes = 2_000;

/** Enough to tell a program and what it works on. */
const shownCommandCharacters = 300;

/** An orderly end takes 2 to 3.5 s; after this it is killed. */
const stopTimeoutMs = 15_000;

export interface TemporalServerOptions {
  /** The `temporal` program, from {@link findTemporalBinary}. */
  readonly bin: string;
  /**
   * SQLite file with the server's whole state; made when absent. Its directory must exist. What the
   * server says goes to a file beside it, `<dbFile>.log`, made anew.
   */
  readonly dbFile: string;
  /** Frontend port; absent: a free one. */
  readonly port?: number;
  /** Port of the web UI; absent: no UI. */
  readonly uiPort?: number;
  readonly namespace?: string;
  /** The server's own settings, by the names of its dynamic configuration. */
  readonly settings?: Readonly<Record<string, number>>;
}

export interface TemporalServer {
  /** `127.0.0.1:<port>`. */
  readonly address: string;
  readonly namespace: string;
  readonly uiUrl: string | null;
  readonly pid: number;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<void>;
  /** SIGTERM, then waits until the process has ended and its port and file are free. */
  stop(): Promise<void>;
  /** `kill -9`, then waits for the end. */
  kill(): Promise<void>;
}

/**
 * Starts a server and resolves when its namespace and search attributes answer.
 * @throws `temporal.start-failed` with the server's last words
 */
export async function startTemporalServer(options: TemporalServerOptions): Promise<TemporalServer> {
  const port = await freePort(options.port ?? 0).catch(async (cause: unknown) => {
    const said = messageOf(cause);
    const holder = await portHolder(options.port ?? 0);
    const reason = holder === null ? said : `${said}: ${holderText(holder)}`;
    const address = `${loopback}:${options.port}`;
    throw fail('temporal.start-failed', { binary: options.bin, address, reason }, { cause });
  });
  const namespace = options.namespace ?? 'default';
  const logFile = `${options.dbFile}.log`;
  const output = await open(logFile, 'w');
  const child = spawn(options.bin, serverArguments({ ...options, port, namespace }), {
    // A file, no pipe: a server whose parent was killed must not end by its next word.
    stdio: ['ignore', output.fd, output.fd],
    // Its own process group: Ctrl-C reaches us alone, and workers end before their server does.
    detached: true,
  });
  let spawnProblem = '';
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      spawnProblem = error.message;
      resolve();
    });
  });
  await output.close();
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    const hard = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await exited;
    clearTimeout(hard);
  };
  const address = `${loopback}:${port}`;
  const problem = await waitUntilReady({ address, namespace, exited });
  if (problem !== null || child.pid === undefined) {
    await end('SIGKILL');
    const said = spawnProblem === '' ? await lastWordsOf(logFile) : spawnProblem;
    const reason = `${problem ?? 'it has no process'}. ${said}`.trim();
    throw fail('temporal.start-failed', { binary: options.bin, address, reason });
  }
  return {
    address,
    namespace,
    uiUrl: options.uiPort === undefined ? null : `http://${loopback}:${options.uiPort}`,
    pid: child.pid,
    exited,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

function holderText({ pid, command }: PortHolder): string {
  return `process ${pid} holds it (${command.join(' ').slice(0, shownCommandCharacters)})`;
}

/**
 * The server that listens on the port, if it is one that {@link startTemporalServer} has started on
 * this very file: its parent was killed, and it goes on.
 */
export async function findLeftServer(options: {
  readonly dbFile: string;
  readonly port: number;
}): Promise<{
  readonly pid: number;
  readonly address: string;
  readonly uiUrl: string | null;
} | null> {
  const holder = options.port === 0 ? null : await portHolder(options.port);
  if (holder === null) return null;
  const { pid, command } = holder;
  const given = (flag: string) => command[command.indexOf(flag) + 1];
  if (!command.includes('start-dev') || given('--db-filename') !== options.dbFile) return null;
  const ui = command.includes('--ui-port') ? `http://${loopback}:${given('--ui-port')}` : null;
  return { pid, address: `${loopback}:${options.port}`, uiUrl: ui };
}

function serverArguments(
  options: TemporalServerOptions & { readonly port: number; readonly namespace: string },
): string[] {
  const flags = {
    '--ip': loopback,
    '--port': `${options.port}`,
    '--db-filename': options.dbFile,
    '--namespace': options.namespace,
    '--log-level': 'warn',
  };
  return [
    'server',
    'start-dev',
    ...Object.entries(flags).flat(),
    ...(options.uiPort === undefined ? ['--headless'] : ['--ui-port', `${options.uiPort}`]),
    // Without a write-ahead log each workflow step costs 4 times as much.
    ...['journal_mode=WAL', 'synchronous=FULL'].flatMap((pragma) => ['--sqlite-pragma', pragma]),
    ...Object.entries(options.settings ?? {}).flatMap(([name, value]) => [
      '--dynamic-config-value',
      `${name}=${value}`,
    ]),
    ...searchAttributeNames.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
    // The server obeys these options, not somebody's client profile.
    '--disable-config-env',
    '--disable-config-file',
  ];
}

/** The end of what the server has said, for an error message. */
async function lastWordsOf(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.slice(-lastWordsBytes).trim();
}

/** Null when the server answers, else why not. */
async function waitUntilReady(options: {
  readonly address: string;
  readonly namespace: string;
  readonly exited: Promise<void>;
}): Promise<string | null> {
  const { address, namespace } = options;
  const ended = options.exited.then(() => 'ended' as const);
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const answer = askForEverything(address, namespace).then(
      () => null,
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    );
    const problem = await Promise.race([answer, ended]);
    if (problem === null) return null;
    if (problem === 'ended') return 'the process has ended';
    if (performance.now() > deadline) {
      return `no answer within ${startTimeoutMs / 1000} s: ${problem.message}`;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Resolves when the namespace is there and every search attribute can be used. */
async function askForEverything(address: string, namespace: string): Promise<void> {
  const connection = await Connection.connect({
    address,
    connectTimeout: 2_000,
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': pollMs },
  });
  try {
    await connection.workflowService.describeNamespace({ namespace });
    const answer = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = searchAttributeNames.filter((name) => !(name in answer.customAttributes));
    if (missing.length > 0) throw new Error(`search attributes missing: ${missing.join(', ')}`);
  } finally {
    await connection.close();
  }
}

/**
 * The wanted port, or a free one for 0, shown to be free by listening on it for a moment: else the
 * answer of somebody else's server would be taken for that of ours. Another process may still take
 * it before the server does.
 */
async function freePort(wanted: number): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(wanted, loopback, () => resolve());
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new TypeError('no TCP address');
  return address.port;
}
