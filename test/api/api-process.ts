/** The HTTP API as users run it: a process of its own, with a store of its own, asked over HTTP. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { openControlStore, type ControlStore } from '../../control/control-store.ts';
import type { Role } from '../../control/token-table.ts';
import type { ApiConfig } from '../../schemas/control-config.ts';
import type { OperationAnswer } from '../../schemas/http/operation.ts';
import type { Problem } from '../../schemas/http/problem.ts';
import { eventually } from '../e2e/migration-environment.ts';
import type { SharedTemporal } from '../setup/shared-temporal.ts';

export interface ApiAnswer<Body = unknown> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Parsed, where it is JSON. */
  readonly body: Body;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly token?: string | null;
  /** Absent: a new one for what changes something; null: none. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export class ApiProcess {
  readonly store: ControlStore;
  readonly #root: string;
  readonly #temporal: SharedTemporal;
  readonly #config: Partial<ApiConfig>;
  #child: ChildProcess | null = null;
  #control: ChildProcess | null = null;
  #output = '';
  /** Of role admin; used where a call gives no other. */
  #admin = '';
  url = '';

  /** Started and ready. */
  static async start(
    temporal: SharedTemporal,
    config: Partial<ApiConfig> = {},
  ): Promise<ApiProcess> {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-api-'));
    const store = await openControlStore({ controlDir: join(root, 'control') });
    const api = new ApiProcess(root, { store, temporal, config });
    api.#admin = await api.token('admin');
    await api.run();
    return api;
  }

  private constructor(
    root: string,
    options: {
      readonly store: ControlStore;
      readonly temporal: SharedTemporal;
      readonly config: Partial<ApiConfig>;
    },
  ) {
    this.#root = root;
    this.store = options.store;
    this.#temporal = options.temporal;
    this.#config = options.config;
  }

  get #configFile(): string {
    return join(this.#root, 'control.yaml');
  }

  get output(): string {
    return this.#output;
  }

  async token(role: Role, expiresAt: number | null = null): Promise<string> {
    const name = `${role}-${randomUUID().slice(0, 8)}`;
    const made = await this.store.tokens.create({ name, role, createdBy: 'test', expiresAt });
    return made.secret;
  }

  /** Again on the port that it had, where it had one. */
  async run(): Promise<void> {
    const listen = this.url === '' ? '127.0.0.1:0' : new URL(this.url).host;
    const { controlDir } = this.store;
    const config = { controlDir, api: { listen, ...this.#config } };
    await writeFile(this.#configFile, JSON.stringify(config));
    const ready = await this.#spawn('api', /the API is ready at (http:\S+),/);
    this.#child = ready.child;
    this.url = ready.said;
  }

  /** A control worker beside it, which works for the same store. */
  async startControl(): Promise<void> {
    this.#control = (await this.#spawn('control', /(ready), with the store/)).child;
  }

  async #spawn(command: 'api' | 'control', isReady: RegExp) {
    const args = [resolve('bin/quorumshift.mjs'), command, '--config', this.#configFile];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        TEMPORAL_ADDRESS: this.#temporal.address,
        TEMPORAL_NAMESPACE: this.#temporal.namespace,
      },
    });
    this.#output = '';
    const said = await new Promise<string>((ready, reject) => {
      const hear = (text: string) => {
        this.#output += text;
        const match = isReady.exec(this.#output)?.[1];
        if (match !== undefined) ready(match);
      };
      child.stdout.setEncoding('utf8').on('data', hear);
      child.stderr.setEncoding('utf8').on('data', hear);
      child.once('exit', (code) => {
        reject(new Error(`${command} ended (${code}): ${this.#output}`));
      });
    });
    return { child, said };
  }

  /** With SIGKILL, or in order; then waits for the end. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    return endOf(this.#child, signal);
  }

  async close(): Promise<void> {
    await this.end('SIGKILL');
    await endOf(this.#control, 'SIGKILL');
    await this.store.close();
    await rm(this.#root, { recursive: true, force: true });
  }

  async call<Body = unknown>(
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<ApiAnswer<Body>> {
    const response = await this.open(method, path, options);
    const text = await response.text();
    const { status, headers } = response;
    const json = /json/.test(headers.get('content-type') ?? '') && text !== '';
    return { status, headers, text, body: (json ? safeJson(text) : null) as Body };
  }

  /** The bare response, for streams. */
  open(method: string, path: string, options: CallOptions = {}): Promise<Response> {
    const { body, token = this.#admin, headers } = options;
    const key = options.key === undefined && method !== 'GET' ? randomUUID() : options.key;
    return fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(typeof key === 'string' && { 'idempotency-key': key }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  }

  get(path: string, options?: CallOptions) {
    return this.call<Record<string, unknown>>('GET', path, options);
  }

  /** A change that was taken: its operation, done or under way. */
  async change(
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<ApiAnswer<OperationAnswer>> {
    return this.call<OperationAnswer>(method, path, { body: {}, ...options });
  }

  /** What is refused. */
  problem(method: string, path: string, options: CallOptions = {}): Promise<ApiAnswer<Problem>> {
    return this.call<Problem>(method, path, options);
  }

  /** Once the operation has ended. */
  ended(id: string): Promise<OperationAnswer> {
    return eventually(`operation ${id} to end`, async () => {
      const { body } = await this.call<OperationAnswer>('GET', `/v1/operations/${id}`);
      return body.state !== 'running' && body;
    });
  }
}

async function endOf(child: ChildProcess | null, signal: NodeJS.Signals): Promise<number | null> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return null;
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  child.kill(signal);
  return exited;
}

/** An export has a line of JSON each. */
function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
