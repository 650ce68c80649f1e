/**
 * The example's cluster with a machine for each node, as Quorumshift sees it: an agent each, one
 * control worker with the store, and a Temporal server of its own, so that names are free.
 */
import { copyFile, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Client } from '@temporalio/client';

import { ClusterClient, type ClusterReportSeen } from '../../client/cluster-client.ts';
import { MigrationClient } from '../../client/migration-client.ts';
import { contractVersion } from '../../core/ids.ts';
import { clusterRolloutSchema, type ClusterRollout } from '../../schemas/cluster-rollout.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import type { HookName } from '../../schemas/agent-config.ts';
import type { MigrationStatus } from '../../workflows/messages.ts';
import type { ClusterStatus, MemberStage } from '../../workflows/rollout-messages.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import type { TemporalServer } from '../../worker/temporal-server.ts';
import { runCli } from '../cli/run-cli.ts';
import { KvCluster, type NodeStatus } from '../go/kv-cluster.ts';
import { startTestServer } from '../setup/test-server.ts';
import { changeHook, failingWhere, type Hook } from './agent-hooks.ts';
import { eventually } from './migration-environment.ts';
import { ReadyProcesses } from './ready-processes.ts';

export type RolloutPolicyInput = Readonly<Record<string, unknown>>;

/** Of a member's journal. */
export interface MemberLine {
  readonly at: string;
  readonly decision?: { readonly by: string; readonly digest?: string };
  readonly info?: Readonly<Record<string, unknown>>;
}

export class ClusterEnvironment {
  readonly kv: KvCluster;
  readonly server: TemporalServer;
  readonly temporal: Client;
  readonly client: ClusterClient;
  readonly migrations: MigrationClient;
  readonly #directory: string;
  readonly #processes = new ReadyProcesses();
  #rollouts = 0;

  /**
   * Its agents and its control worker, with the store, run.
   * @param learners members besides that do not vote
   */
  static async start({
    learners = 0,
    ...given
  }: {
    readonly families?: string[];
    readonly learners?: number;
  } = {}): Promise<ClusterEnvironment> {
    const directory = await mkdtemp(join(tmpdir(), 'quorumshift-cluster-'));
    const [server, kv] = await Promise.all([
      startTestServer(),
      // A machine that stands still for a moment changes no leader.
      KvCluster.start({ ...given, spares: learners, electionTimeout: '4s' }),
    ]);
    const temporal = await connectClient(server);
    const environment = new ClusterEnvironment({ directory, server, kv, temporal });
    const { controlDir, controlConfig } = environment;
    await writeFile(controlConfig, JSON.stringify({ controlDir }));
    const [first = ''] = kv.nodes;
    await kv.until('the cluster commits', () => kv.write(first, 'first', 'value of first'));
    for (let i = 0; i < learners; i += 1) await kv.addLearner();
    // All have opened: each has its record.
    await environment.leader();
    for (const member of environment.members) {
      await changeHook(
        environment.#agentOf(member),
        'probe',
        failingWhere(environment.#brokenOf(member)),
      );
    }
    await Promise.all(['control', ...environment.members].map((name) => environment.run(name)));
    return environment;
  }

  private constructor(given: {
    directory: string;
    server: TemporalServer;
    kv: KvCluster;
    temporal: Client;
  }) {
    this.#directory = given.directory;
    this.server = given.server;
    this.kv = given.kv;
    this.temporal = given.temporal;
    const options = { client: given.temporal, identity: 'test' };
    this.client = new ClusterClient(options);
    this.migrations = new MigrationClient(options);
  }

  get controlDir(): string {
    return join(this.#directory, 'control');
  }

  get controlConfig(): string {
    return join(this.#directory, 'control.json');
  }

  get members(): readonly string[] {
    return this.kv.nodes.map((_, i) => `n${i + 1}`);
  }

  /** From where its members are now to a fresh place of each. */
  async rollout(
    policy: RolloutPolicyInput = {},
    rolloutId = this.nextId(),
  ): Promise<ClusterRollout> {
    const families = defaultFamilies();
    const stays = policy['shape'] === 'binary';
    const members = this.members.map(async (member) => ({
      member,
      host: member,
      agentId: null,
      raftId: member,
      source: await this.primaryOf(member),
      target: stays ? null : families.expand(this.target(member, rolloutId)),
    }));
    return clusterRolloutSchema.parse({
      contractVersion,
      rolloutId,
      cluster: 'kv',
      members: await Promise.all(members),
      policy: {
        target: 'rocksdb:///{member}',
        soakSeconds: 0,
        finalize: 'per-cluster',
        replica: { probeEverySeconds: 5, validateEverySeconds: null },
        ...policy,
      },
      requestedBy: 'test',
    });
  }

  /** Inventory and policy as files; the options that name them. */
  async writeFiles({ members, policy, rolloutId }: ClusterRollout): Promise<string[]> {
    const inventory = join(this.#directory, `${rolloutId}-inventory.json`);
    const declared = members.map(({ member, host, source }) => [member, { host, source }] as const);
    const clusters = { kv: { members: Object.fromEntries(declared) } };
    await writeFile(inventory, JSON.stringify({ version: 1, clusters }));
    const file = join(this.#directory, `${rolloutId}-policy.json`);
    const place = `rocksdb://${this.kv.data}/{member}/${rolloutId}`;
    const target = policy.shape === 'binary' ? undefined : place;
    await writeFile(file, JSON.stringify({ ...policy, target }));
    return ['--inventory', inventory, '--policy', file];
  }

  nextId(): string {
    this.#rollouts += 1;
    return `r${this.#rollouts}`;
  }

  target(member: string, rolloutId: string): string {
    return `rocksdb://${this.kv.directory(member)}/${rolloutId}`;
  }

  /** Where its record says that it is. */
  async primaryOf(member: string): Promise<InstanceUris> {
    const record = await this.storeOf(member).read();
    if (record === null) throw new Error(`${member} has no record`);
    return record.primary.uris;
  }

  storeOf(member: string): RecordStore {
    const stateDir = join(this.kv.directory(member), 'state');
    const replica = { cluster: 'kv', member };
    return new RecordStore({ files: nodeFileLayer, stateDir, replica, now: () => new Date() });
  }

  /** What was done to the member on its machine, and on whose word. */
  async journalOf(member: string): Promise<MemberLine[]> {
    const stateDir = join(this.kv.directory(member), 'state');
    const args = ['journal', `kv/${member}`, '--state-dir', stateDir, '-o', 'jsonl'];
    const { stdout } = await runCli(args);
    return stdout
      .toString('utf8')
      .trim()
      .split('\n')
      .map((line): MemberLine => JSON.parse(line));
  }

  /** Starts `control`, with the store, or a machine's agent, and waits until it is ready. */
  async run(name: string): Promise<void> {
    const config = name === 'control' ? this.controlConfig : this.#agentOf(name);
    const args = [name === 'control' ? name : 'agent', '--config', config];
    await this.#processes.start(name, args, this.address);
  }

  /** The control worker alone, without the store. */
  async runWithoutStore(): Promise<void> {
    await this.#processes.start('control', ['control'], this.address);
  }

  /** Of the agent of its machine, which is started anew with it. */
  async setHook(member: string, name: HookName, hook: Hook): Promise<Hook> {
    const before = await changeHook(this.#agentOf(member), name, () => hook);
    await this.kill(member);
    await this.run(member);
    return before;
  }

  #agentOf(member: string): string {
    return join(this.kv.directory(member), 'agent.json');
  }

  /** The probe of this migration fails on the way forward. */
  async breakProbe(member: string, migrationId: string): Promise<void> {
    await writeFile(this.#brokenOf(member), migrationId);
  }

  #brokenOf(member: string): string {
    return join(this.kv.directory(member), 'broken');
  }

  /** An operator puts another program beside the one that runs. */
  async putNextProgram(member: string): Promise<void> {
    const directory = this.kv.directory(member);
    const made = join(directory, 'program-made');
    await copyFile(join(directory, 'program-before'), made);
    await rename(made, join(directory, 'program-next'));
  }

  /** Whether its process runs that program. */
  async runsNextProgram(member: string): Promise<boolean> {
    const directory = this.kv.directory(member);
    const pid = (await readFile(join(directory, 'node.pid'), 'utf8')).trim();
    const files = [`/proc/${pid}/exe`, join(directory, 'program-next')];
    const [runs, next] = await Promise.all(files.map((file) => stat(file)));
    return runs?.ino === next?.ino;
  }

  get address(): Readonly<Record<string, string>> {
    const { address, namespace } = this.server;
    const { controlDir } = this;
    return {
      TEMPORAL_ADDRESS: address,
      TEMPORAL_NAMESPACE: namespace,
      QUORUMSHIFT_CONTROL_DIR: controlDir,
    };
  }

  /** kill -9, then waits for the end. */
  async kill(name: string): Promise<void> {
    await this.#processes.kill(name);
  }

  get log(): string {
    return this.#processes.log;
  }

  /** The rollout's status once it is as `look` says. */
  async until(
    what: string,
    look: (status: ClusterStatus) => boolean,
    timeoutMs = 150_000,
  ): Promise<ClusterStatus> {
    let seen: ClusterReportSeen | null = null;
    try {
      return await eventually(
        what,
        async () => {
          seen = await this.client.status('kv');
          return seen.status !== null && look(seen.status) ? seen.status : null;
        },
        timeoutMs,
      );
    } catch (error) {
      const shown = JSON.stringify(seen, null, 1).slice(0, 6000);
      throw new Error(`${String(error)}\n${shown}\n${this.log}`, { cause: error });
    }
  }

  /** Its members that are not the leader, by name; then the leader. */
  async inOrder(): Promise<string[]> {
    const leader = await this.leader();
    return [...this.members.filter((member) => member !== leader), leader];
  }

  async untilMigration(
    member: string,
    look: (status: MigrationStatus) => boolean,
  ): Promise<MigrationStatus> {
    return eventually(`the migration of ${member}`, async () => {
      const { status } = await this.migrations.status({ cluster: 'kv', member });
      return status !== null && look(status) ? status : null;
    });
  }

  /** So many entries, each acknowledged. */
  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      await this.kv.until('a write', () => this.#writeAnywhere(`w${i}`));
    }
  }

  async #writeAnywhere(key: string): Promise<boolean> {
    const leader = await this.#leaderNow();
    return leader !== null && this.kv.write(leader, key, 'value');
  }

  async #leaderNow(): Promise<string | null> {
    for (const node of this.kv.nodes) {
      const status = await this.kv.status(node, 1_000).catch(() => null);
      if (status?.state === 'Leader') return node;
    }
    return null;
  }

  async outcome(timeoutMs = 180_000): Promise<string> {
    await this.until('the rollout has ended', ({ outcome }) => outcome !== null, timeoutMs);
    return (await this.client.result('kv')).outcome;
  }

  async statusOf(member: string): Promise<NodeStatus> {
    return this.kv.status(this.kv.nodes[this.members.indexOf(member)] ?? '');
  }

  /** Who leads, once one does and all know it. */
  async leader(): Promise<string> {
    let leader = '';
    await this.kv.until('a leader', async () => {
      const all = await Promise.all(this.members.map((member) => this.statusOf(member)));
      leader = this.members[all.findIndex(({ state }) => state === 'Leader')] ?? '';
      return leader !== '' && new Set(all.map(({ term }) => term)).size === 1;
    });
    return leader;
  }

  async close(): Promise<void> {
    await this.#processes.killAll();
    await this.temporal.connection.close();
    await this.kv.stop();
    await this.server.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export function stagesOf({ members }: ClusterStatus): Record<string, MemberStage> {
  return Object.fromEntries(members.map(({ member, stage }) => [member, stage]));
}
