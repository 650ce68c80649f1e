/**
 * A machine and a control plane made of real processes: an agent and a control worker, each started
 * by the command line that users have, against a real Temporal server.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import type { Client } from '@temporalio/client';

import { MigrationClient } from '../../client/migration-client.ts';
import { contractVersion, type ReplicaName } from '../../core/ids.ts';
import { migrationInputSchema, type MigrationInput } from '../../schemas/migration.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import type { StateDigest } from '../../storage/image/state-digester.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import type { MigrateReplicaResult } from '../../workflows/messages.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import { startHost, type HostPlace, type HostProcess } from '../host/host-process.ts';
import { ReadyProcesses } from './ready-processes.ts';

export const fixtures = resolve('test/fixtures/braft');

let environments = 0;

/** A machine whose storage host runs already. */
export interface MachineAt {
  readonly replica: ReplicaName;
  /** Where its instances lie. */
  readonly data: string;
  readonly stateDir: string;
  readonly adminSocket: string;
}

export interface EnvironmentOptions {
  readonly address: string;
  readonly namespace: string;
  /** The agent's hooks; made for the environment's root. */
  readonly hooks?: (root: string) => Readonly<Record<string, unknown>>;
  /** Of the agent's configuration, by `<cluster>/<member>`. */
  readonly replicas?: Readonly<Record<string, unknown>>;
  /** Absent: a machine of its own. */
  readonly at?: MachineAt;
}

export class MigrationEnvironment {
  readonly root: string;
  readonly data: string;
  readonly stateDir: string;
  readonly host: string;
  readonly replica: ReplicaName;
  readonly temporal: Client;
  readonly client: MigrationClient;
  readonly #options: EnvironmentOptions;
  readonly #processes = new ReadyProcesses();

  static async create(options: EnvironmentOptions): Promise<MigrationEnvironment> {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-e2e-'));
    const temporal = await connectClient(options);
    const environment = new MigrationEnvironment(root, temporal, options);
    await mkdir(environment.data, { recursive: true });
    await writeFile(
      environment.configFile,
      JSON.stringify({
        host: environment.host,
        stateDir: environment.stateDir,
        roots: [environment.data],
        hostAdminSocket: options.at?.adminSocket ?? environment.hostPlace.adminSocket,
        reserveBytes: 0,
        // Tests run as anyone, and in sandboxes whose init shows nothing.
        mayNotLook: 'pass-over',
        ...(options.hooks && { hooks: options.hooks(root) }),
        ...(options.replicas && { replicas: options.replicas }),
      }),
    );
    return environment;
  }

  private constructor(root: string, temporal: Client, options: EnvironmentOptions) {
    environments += 1;
    const unique = `${process.pid}-${environments}`;
    this.root = root;
    this.data = options.at?.data ?? join(root, 'data');
    this.stateDir = options.at?.stateDir ?? join(root, 'state');
    this.host = `h${unique}`;
    this.replica = options.at?.replica ?? { cluster: 'kv', member: `n${unique}` };
    this.temporal = temporal;
    this.client = new MigrationClient({ client: temporal, identity: 'test' });
    this.#options = options;
  }

  get address(): string {
    return this.#options.address;
  }

  get configFile(): string {
    return join(this.root, 'agent.json');
  }

  /** Of a storage host that serves the environment's replica, from `local://<data>/a`. */
  get hostPlace(): HostPlace {
    const { root: directory } = this;
    const place = (name: string) => join(directory, name);
    const sockets = { socket: place('host.sock'), adminSocket: place('admin.sock') };
    return { directory, config: place('host.json'), ...sockets };
  }

  /** Starts it, with an empty replica the first time. */
  async startHost(): Promise<HostProcess> {
    const { socket, adminSocket, config } = this.hostPlace;
    const replicas = [{ ...this.replica, uri: this.uri('local', 'a'), create: true }];
    const { stateDir } = this;
    await writeFile(config, JSON.stringify({ stateDir, socket, adminSocket, replicas }));
    return startHost(this.hostPlace);
  }

  get store(): RecordStore {
    return this.storeOf(this.replica);
  }

  storeOf(replica: ReplicaName): RecordStore {
    const { stateDir } = this;
    return new RecordStore({ files: nodeFileLayer, stateDir, replica, now: () => new Date() });
  }

  uri(scheme: string, name: string): string {
    return `${scheme}://${join(this.data, name)}`;
  }

  /** Unpacks a directory that real braft wrote; returns its URI. */
  async unpack(fixture: string, name: string): Promise<string> {
    const directory = join(this.data, name);
    await mkdir(directory, { recursive: true });
    await promisify(execFile)('tar', ['xzf', join(fixtures, `${fixture}.tar.gz`), '-C', directory]);
    return `local://${directory}`;
  }

  /** Starts `agent` or `control` and waits until it says that it is ready. */
  async start(name: 'agent' | 'control', ...more: readonly string[]): Promise<void> {
    const config = name === 'agent' ? ['--config', this.configFile] : [];
    const { address, namespace } = this.#options;
    const env = { TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace };
    await this.#processes.start(name, [name, ...config, ...more], env);
  }

  /** kill -9, then waits for the end. */
  async kill(name: 'agent' | 'control'): Promise<void> {
    await this.#processes.kill(name);
  }

  get log(): string {
    return this.#processes.log;
  }

  input(given: {
    readonly source: string;
    readonly target: string;
    readonly id?: string;
    readonly policy?: Partial<MigrationInput['policy']>;
    /** Another replica of the same machine. */
    readonly replica?: ReplicaName;
  }): MigrationInput {
    const families = defaultFamilies();
    return migrationInputSchema.parse({
      contractVersion,
      migrationId: given.id ?? 'm1',
      replica: given.replica ?? this.replica,
      host: this.host,
      source: families.expand(given.source),
      target: families.expand(given.target),
      policy: { finalize: 'auto', ...given.policy },
      standalone: { by: 'test', note: 'the only replica' },
      requestedBy: 'test',
    });
  }

  /** How the migration ended; fails at once when it waits for an operator because a step failed. */
  async outcome(): Promise<MigrateReplicaResult> {
    for await (const report of this.client.watch(this.replica, { intervalMs: 100 })) {
      const waiting = report.status?.waiting;
      if (waiting?.kind === 'failed' || waiting?.kind === 'held') {
        throw new Error(`${report.status?.phase ?? ''}: ${waiting.reason}`);
      }
    }
    return this.client.result(this.replica);
  }

  async digest(uri: string): Promise<StateDigest> {
    const families = defaultFamilies();
    const instance = await families.open(families.expand(uri), 'read-only', {
      files: nodeFileLayer,
    });
    try {
      return await digestInstance(instance);
    } finally {
      await instance.close();
    }
  }

  async close(): Promise<void> {
    await this.#processes.killAll();
    await this.temporal.connection.close();
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Waits for a condition of the outside world; fails after a minute, saying which. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | null | undefined | false>,
  timeoutMs = 150_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen !== null && seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) throw new Error(`not seen within ${timeoutMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
