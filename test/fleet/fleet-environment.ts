/**
 * A fleet of small clusters on a few machines, made of real processes: an agent for each machine, a
 * control worker with the store, a Temporal server. The replicas are real instances on disk, which
 * no Raft process serves: they are moved as stopped ones, and an `exec` adapter prints what each
 * member would say of its group.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { Client } from '@temporalio/client';

import { ClusterClient } from '../../client/cluster-client.ts';
import { FleetClient } from '../../client/fleet-client.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import type { ClusterStatus, FleetStatus } from '../../workflows/rollout-messages.ts';
import { program } from '../cli/run-cli.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { ReadyProcesses } from '../e2e/ready-processes.ts';
import { KillableServer } from '../soak/killable-server.ts';

const members = ['n1', 'n2', 'n3'] as const;
const entries = 10;

/** A fleet’s steps wait for disks and each other; a test that waits in vain shows what it saw. */
const patienceMs = 220_000;

/** A control worker that runs workflows alone: where it runs by itself, no store answers. */
export const storeless = 'workflows';

export class FleetEnvironment {
  readonly root: string;
  readonly machines: readonly string[];
  readonly client: FleetClient;
  readonly clusters: ClusterClient;
  readonly temporal: Client;
  readonly #server: KillableServer;
  readonly #processes = new ReadyProcesses();
  readonly #withPrograms: readonly string[];
  readonly #placed = new Map<string, Record<string, string>>();
  /** Of the process `api`, which runs when it is named to {@link run}. */
  apiUrl = '';

  /** With these clusters, of three members each, spread over the machines; nothing runs yet. */
  static async create(given: {
    readonly machines: number;
    readonly clusters: readonly string[];
    /** Those of them whose members have programs that can be replaced. */
    readonly withPrograms?: readonly string[];
  }): Promise<FleetEnvironment> {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-fleet-'));
    const server = await KillableServer.start(process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '');
    const temporal = await connectClient(server);
    const { machines: count, withPrograms = [] } = given;
    const environment = new FleetEnvironment({ root, server, temporal, count, withPrograms });
    await environment.#makeClusters(given.clusters);
    await environment.#configure();
    return environment;
  }

  private constructor(given: {
    root: string;
    server: KillableServer;
    temporal: Client;
    count: number;
    withPrograms: readonly string[];
  }) {
    this.root = given.root;
    this.#withPrograms = given.withPrograms;
    this.machines = Array.from({ length: given.count }, (_, i) => `m${i + 1}`);
    this.temporal = given.temporal;
    this.#server = given.server;
    const options = { client: given.temporal, identity: 'test' };
    this.client = new FleetClient(options);
    this.clusters = new ClusterClient(options);
  }

  path(...names: string[]): string {
    return join(this.root, ...names);
  }

  get processes(): readonly string[] {
    return ['control', ...this.machines];
  }

  get controlDir(): string {
    return this.path('control');
  }

  /** The probe of this cluster's replicas fails until {@link mend}. */
  async breakProbe(cluster: string): Promise<void> {
    await writeFile(this.path('broken', cluster), '');
  }

  async mend(cluster: string): Promise<void> {
    await rm(this.path('broken', cluster));
  }

  /** What the cluster's members say from now on, whoever leads. */
  async changeViews(cluster: string, change: object): Promise<void> {
    for (const leader of [...members, 'now']) {
      for (const member of members) {
        const file = this.path('views', cluster, leader, member);
        const view = { ...JSON.parse(await readFile(file, 'utf8')), ...change };
        await writeFile(file, JSON.stringify(view));
      }
    }
  }

  target(cluster: string, member: string): string {
    return `rocksdb://${this.path('data', this.#hostOf(cluster, member), `${cluster}-${member}-new`)}`;
  }

  storeOf(cluster: string, member: string): RecordStore {
    const stateDir = this.path('state', this.#hostOf(cluster, member));
    const replica = { cluster, member };
    return new RecordStore({ files: nodeFileLayer, stateDir, replica, now: () => new Date() });
  }

  /** Where each member's record says that it lies. */
  async primaries(cluster: string): Promise<(string | null)[]> {
    return Promise.all(
      members.map(async (member) => {
        const record = await this.storeOf(cluster, member).read();
        return record?.migration === null ? record.primary.uris.log : null;
      }),
    );
  }

  targets(cluster: string): string[] {
    return members.map((member) => this.target(cluster, member));
  }

  sources(cluster: string): string[] {
    return members.map((member) => this.#source(cluster, member));
  }

  /** The last index of each member's state at its target. */
  async lastIndexes(cluster: string): Promise<bigint[]> {
    const families = defaultFamilies();
    const indexes: bigint[] = [];
    for (const uri of this.targets(cluster)) {
      const context = { files: nodeFileLayer };
      const instance = await families.open(families.expand(uri), 'read-only', context);
      indexes.push(instance.state().lastIndex);
      await instance.close();
    }
    return indexes;
  }

  /** Writes the policy, and returns what a start by command is given. */
  async files(policy: Readonly<Record<string, unknown>>): Promise<string[]> {
    const target = `rocksdb://${this.path('data', '{host}', '{cluster}-{member}-new')}`;
    const replica = { probeEverySeconds: null };
    const given = { target, soakSeconds: 0, replica, ...policy };
    await writeFile(this.path('policy.yaml'), JSON.stringify(given));
    return ['--inventory', this.path('inventory.yaml'), '--policy', this.path('policy.yaml')];
  }

  /** A rollout of the cluster alone; its sources are kept until it is told to finalize. */
  async startCluster(
    cluster: string,
    policy: Readonly<Record<string, unknown>> = {},
    rolloutId = `r-${cluster}`,
  ): Promise<void> {
    const files = await this.files({ finalize: 'manual', ...policy });
    await this.cli('cluster', 'start', cluster, ...files, '--id', rolloutId);
  }

  workflow(id: string) {
    return this.temporal.workflow.getHandle(id);
  }

  async cli(...args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...args], {
      env: this.#env,
    });
    return stdout;
  }

  /** Starts processes and waits until they are ready; {@link storeless}, too. */
  async run(names: readonly string[] = this.processes): Promise<void> {
    await Promise.all(names.map((name) => this.#runOne(name)));
  }

  async #runOne(name: string): Promise<void> {
    const ofMachine = this.machines.includes(name);
    const config = ['--config', this.path(ofMachine ? `${name}.json` : 'control.json')];
    const kind = ofMachine ? 'agent' : name === 'api' ? 'api' : 'control';
    const args = [kind, ...(name === storeless ? [] : config)];
    const said = await this.#processes.start(name, args, this.#env);
    if (name === 'api') this.apiUrl = /ready at (http:\S+),/.exec(said)?.[1] ?? '';
  }

  /** kill -9 of everything at once, the Temporal server included. */
  async killAll(): Promise<void> {
    await Promise.all([this.#server.kill(), this.#processes.killAll()]);
  }

  async restartAll(): Promise<void> {
    await this.#server.restart({ emptied: false });
    await this.run();
  }

  async kill(name: string): Promise<void> {
    await this.#processes.kill(name);
  }

  get log(): string {
    return this.#processes.log;
  }

  /** The fleet's status once it is as `holds` says. */
  until(fleet: string, what: string, holds: (status: FleetStatus) => boolean) {
    return this.#untilOf(() => this.client.status(fleet), what, holds);
  }

  /** Likewise, a cluster's. */
  untilCluster(cluster: string, what: string, holds: (status: ClusterStatus) => boolean) {
    return this.#untilOf(() => this.clusters.status(cluster), what, holds);
  }

  async #untilOf<Status>(
    ask: () => Promise<{ readonly status: Status | null }>,
    what: string,
    holds: (status: Status) => boolean,
  ): Promise<Status> {
    let seen: { readonly status: Status | null } | null = null;
    try {
      return await eventually(
        what,
        async () => {
          // A server that was killed is back in a moment.
          seen = await ask().catch(() => null);
          const status = seen?.status ?? null;
          return status !== null && holds(status) ? status : null;
        },
        patienceMs,
      );
    } catch (error) {
      const shown = JSON.stringify(seen, null, 1).slice(0, 6000);
      throw new Error(`${String(error)}\n${shown}\n${this.log}`, { cause: error });
    }
  }

  async outcome(fleet: string): Promise<string> {
    await this.until(fleet, 'the rollout has ended', ({ outcome }) => outcome !== null);
    return (await this.client.result(fleet)).outcome;
  }

  async close(): Promise<void> {
    await this.#processes.killAll();
    await this.temporal.connection.close();
    await this.#server.close();
    await rm(this.root, { recursive: true, force: true });
  }

  get #env(): NodeJS.ProcessEnv {
    const { address, namespace } = this.#server;
    return {
      ...process.env,
      TEMPORAL_ADDRESS: address,
      TEMPORAL_NAMESPACE: namespace,
      QUORUMSHIFT_CONTROL_CONFIG: this.path('control.json'),
      NO_COLOR: '1',
    };
  }

  async #makeClusters(clusters: readonly string[]): Promise<void> {
    await mkdir(this.path('broken'), { recursive: true });
    const inventory: Record<string, unknown> = {};
    for (const [c, cluster] of clusters.entries()) {
      const placed = Object.fromEntries(
        members.map((member, i) => [member, this.machines[(c + i) % this.machines.length] ?? '']),
      );
      this.#placed.set(cluster, placed);
      inventory[cluster] = {
        members: Object.fromEntries(
          members.map((member) => [
            member,
            { host: placed[member], source: this.#source(cluster, member) },
          ]),
        ),
      };
      for (const member of members) await this.#makeReplica(cluster, member);
      await this.#writeViews(cluster);
    }
    const text = JSON.stringify({ version: 1, clusters: inventory });
    await writeFile(this.path('inventory.yaml'), text);
  }

  async #makeReplica(cluster: string, member: string): Promise<void> {
    const families = defaultFamilies();
    const uri = this.#source(cluster, member);
    await mkdir(uri.slice('sqlite://'.length), { recursive: true });
    const context = { files: nodeFileLayer };
    const instance = await families.open(families.expand(uri), 'create', context);
    const batch = batchOf(
      Array.from({ length: entries }, (_, i) => ({
        index: BigInt(i + 1),
        term: 3n,
        type: EntryType.DATA,
        payload: Buffer.from(`${cluster}/${member} ${i}`),
      })),
    );
    await instance.apply({
      entries: { after: 0n, batches: [batch] },
      meta: { term: 3n, votedFor: Buffer.from('n1') },
    });
    await instance.close();
  }

  /** What members say while each of them leads; at first it is n1. */
  async #writeViews(cluster: string): Promise<void> {
    for (const leader of members) {
      const directory = this.path('views', cluster, leader);
      await mkdir(directory, { recursive: true });
      for (const member of members) {
        const view = {
          role: member === leader ? 'leader' : 'follower',
          term: '3',
          leader,
          commitIndex: `${entries}`,
          appliedIndex: `${entries}`,
          lastIndex: `${entries}`,
          members: members.map((raftId) => ({ raftId, voter: true })),
          changePending: false,
        };
        await writeFile(join(directory, member), JSON.stringify(view));
      }
    }
    await cp(this.path('views', cluster, 'n1'), this.path('views', cluster, 'now'), {
      recursive: true,
    });
  }

  async #configure(): Promise<void> {
    for (const host of this.machines) {
      const replicas: Record<string, unknown> = {};
      for (const [cluster, placed] of this.#placed) {
        for (const member of members.filter((name) => placed[name] === host)) {
          replicas[`${cluster}/${member}`] = this.#replicaConfig(cluster, member);
        }
      }
      await mkdir(this.path('data', host), { recursive: true });
      await writeFile(
        this.path(`${host}.json`),
        JSON.stringify({
          host,
          stateDir: this.path('state', host),
          roots: [this.path('data', host)],
          hostAdminSocket: this.path('no-host.sock'),
          reserveBytes: 0,
          // Tests run as anyone, and in sandboxes whose init shows nothing.
          mayNotLook: 'pass-over',
          replicas,
        }),
      );
    }
    const notify = { exec: ['sh', '-c', `cat >> ${this.path('notices')}`] };
    await writeFile(
      this.path('control.json'),
      JSON.stringify({ controlDir: this.controlDir, notify, api: { listen: '127.0.0.1:0' } }),
    );
  }

  #replicaConfig(cluster: string, member: string): Record<string, unknown> {
    const views = this.path('views', cluster);
    const transfer = `cp ${views}/"$QUORUMSHIFT_TO"/* ${views}/now/`;
    const nothing = { exec: ['true'] };
    const program = { stop: nothing, replace: nothing, start: nothing };
    const probe = { exec: ['test', '!', '-e', this.path('broken', cluster)] };
    return {
      hooks: { probe, ...(this.#withPrograms.includes(cluster) && program) },
      adapter: {
        kind: 'exec',
        status: { exec: ['cat', join(views, 'now', member)] },
        transferLeadership: { exec: ['sh', '-c', transfer] },
      },
    };
  }

  #source(cluster: string, member: string): string {
    return `sqlite://${this.path('data', this.#hostOf(cluster, member), `${cluster}-${member}`)}`;
  }

  #hostOf(cluster: string, member: string): string {
    return this.#placed.get(cluster)?.[member] ?? '';
  }
}
