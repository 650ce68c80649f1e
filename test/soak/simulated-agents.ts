/**
 * Many machines in one process, each with an agent on task queues of its own: the real activities,
 * on the `memory` family and file systems in memory, and groups that answer as members do.
 *
 * What is simulated: the machines' disks and Raft processes; and a preflight finding is left out,
 * since what lies in memory is rightly refused on a real machine. What fails is injected here: a
 * share of the attempts, before their work or after it; and the disks of doomed clusters are full.
 */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';

import { ApplicationFailure } from '@temporalio/common';
import { Worker, type NativeConnection } from '@temporalio/worker';

import { quiet } from '../../core/log.ts';
import type { AgentContext } from '../../activities/agent-context.ts';
import type { ControlActivities, HostActivities } from '../../activities/contract.ts';
import {
  createControlActivities,
  createHostActivities,
} from '../../activities/create-activities.ts';
import type { MemberAdapter } from '../../activities/raft-adapters/member-adapter.ts';
import {
  hostControlTaskQueue,
  hostTaskQueue,
  replicaText,
  type ReplicaName,
} from '../../core/ids.ts';
import { agentConfigSchema } from '../../schemas/agent-config.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';

export interface SimulatedMachines {
  /** Each begin and end of an activity is a line of it. */
  readonly logFile: string;
  /** While this file is there, the clusters that it names by lines are doomed. */
  readonly doomedFile: string;
  /** Of the attempts of steps, this share fails, half of it before the work, half after. */
  readonly failingShare: number;
  readonly seed: number;
  readonly entries: number;
  /** Members by machine. */
  readonly machines: Readonly<Record<string, readonly ReplicaName[]>>;
}

/** One line of the log. */
export interface LoggedActivity {
  readonly atMs: number;
  readonly host: string;
  readonly replica: string;
  readonly activity: string;
  /** `refuse`: tried again is of no use; an operator is asked. */
  readonly event: 'begin' | 'end' | 'fail' | 'refuse';
}

interface Addressed {
  readonly replica?: ReplicaName;
  readonly input?: { readonly replica: ReplicaName };
}

/** An activity reached by one poller is taken at once; a machine has few at a time. */
const pollers = { type: 'simple-maximum', maximum: 1 } as const;

/** Shares of failing attempts are drawn as exactly as this. */
const drawnFrom = 1_000_000;

const families = new FamilyRegistry([memoryFamily]);

/** A Raft group as its members see it; its first member leads until it hands over. */
class SimulatedGroup {
  readonly #members: readonly string[];
  readonly #lastIndex: string;
  #leader: string;
  #term = 5;

  constructor(members: readonly string[], entries: number) {
    const [first] = members;
    if (first === undefined) throw new Error('a group has a member');
    this.#members = members;
    this.#leader = first;
    this.#lastIndex = `${entries}`;
  }

  adapter(member: string): MemberAdapter {
    return {
      view: async () => ({
        role: member === this.#leader ? 'leader' : 'follower',
        term: `${this.#term}`,
        leader: this.#leader,
        commitIndex: this.#lastIndex,
        appliedIndex: this.#lastIndex,
        lastIndex: this.#lastIndex,
        members: this.#members.map((raftId) => ({ raftId, voter: true })),
        changePending: false,
      }),
      transferLeadership: async (to) => {
        this.#leader = to;
        this.#term += 1;
      },
    };
  }
}

export class SimulatedAgents {
  readonly #given: SimulatedMachines;
  readonly #log: number;
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #groups = new Map<string, SimulatedGroup>();

  constructor(given: SimulatedMachines) {
    this.#given = given;
    this.#log = openSync(given.logFile, 'a');
    this.#random = seededRandom(given.seed);
    const groups = new Map<string, string[]>();
    for (const { cluster, member } of Object.values(given.machines).flat()) {
      groups.set(cluster, [...(groups.get(cluster) ?? []), member].toSorted());
    }
    for (const [cluster, members] of groups) {
      this.#groups.set(cluster, new SimulatedGroup(members, given.entries));
    }
  }

  /** Two workers for each machine, none of which runs yet. */
  async workers(connection: NativeConnection, namespace: string): Promise<readonly Worker[]> {
    const shared = { connection, namespace, activityTaskPollerBehavior: pollers };
    const workers: Worker[] = [];
    for (const [host, replicas] of Object.entries(this.#given.machines)) {
      const context = await this.#machine(host, replicas);
      workers.push(
        await Worker.create({
          ...shared,
          taskQueue: hostTaskQueue(host),
          activities: this.#wrapped(host, this.#hostActivities(context)),
          maxConcurrentActivityTaskExecutions: 4,
        }),
        await Worker.create({
          ...shared,
          taskQueue: hostControlTaskQueue(host),
          activities: this.#wrapped(host, createControlActivities(context)),
          maxConcurrentActivityTaskExecutions: 16,
        }),
      );
    }
    return workers;
  }

  /** Once its workers have ended. */
  close(): void {
    closeSync(this.#log);
  }

  async #machine(host: string, replicas: readonly ReplicaName[]): Promise<AgentContext> {
    const files = new CrashFileLayer(this.#given.seed);
    for (const replica of replicas) await this.#createReplica(replica);
    return {
      config: agentConfigSchema.parse({ host, stateDir: '/state', roots: ['/data'] }),
      agentId: crypto.randomUUID(),
      files,
      families,
      findHolders: async () => [],
      now: () => new Date(),
      log: quiet,
      memberAdapter: ({ cluster, member }) => this.#groups.get(cluster)?.adapter(member) ?? null,
    };
  }

  async #createReplica({ cluster, member }: ReplicaName): Promise<void> {
    const uris = families.expand(`memory://${cluster}-${member}`);
    const context = { files: new CrashFileLayer(0) };
    const instance = await families.open(uris, 'create', context);
    const entries = Array.from({ length: this.#given.entries }, (_, i) => ({
      index: BigInt(i + 1),
      term: 5n,
      type: EntryType.DATA,
      payload: Buffer.from(`${cluster}/${member} ${i}`),
    }));
    await instance.apply({
      entries: { after: 0n, batches: [batchOf(entries)] },
      meta: { term: 5n, votedFor: Buffer.from(member) },
    });
    await instance.close();
  }

  #hostActivities(context: AgentContext): HostActivities {
    const real = createHostActivities(context);
    return {
      ...real,
      preflight: async (request) => {
        const answer = await real.preflight(request);
        const findings = answer.findings.filter(({ check }) => check !== 'places durable');
        return { ...answer, findings };
      },
      copy: async (request) => {
        if (this.#isDoomed(request.replica)) {
          throw ApplicationFailure.nonRetryable('the disk is full', 'io.failed');
        }
        return real.copy(request);
      },
    };
  }

  #isDoomed({ cluster }: ReplicaName): boolean {
    const { doomedFile } = this.#given;
    return existsSync(doomedFile) && readFileSync(doomedFile, 'utf8').split('\n').includes(cluster);
  }

  /** Logs each, and lets a share of the attempts fail as attempts do. */
  #wrapped<Activities extends HostActivities | ControlActivities>(
    host: string,
    activities: Activities,
  ): Activities {
    const wrapped = Object.entries(activities).map(([activity, work]) => {
      const run = work as (request?: Addressed) => Promise<unknown>;
      const logged = async (request?: Addressed) => {
        const replica = request?.replica ?? request?.input?.replica;
        const subject = replica === undefined ? '' : replicaText(replica);
        const note = (event: LoggedActivity['event']) => {
          const line: LoggedActivity = {
            atMs: Date.now(),
            host,
            replica: subject,
            activity,
            event,
          };
          writeSync(this.#log, `${JSON.stringify(line)}\n`);
        };
        note('begin');
        try {
          this.#mayFail(activity);
          const answer = await run(request);
          this.#mayFail(activity);
          note('end');
          return answer;
        } catch (error) {
          note(isRefusal(error) ? 'refuse' : 'fail');
          throw error;
        }
      };
      return [activity, logged] as const;
    });
    return Object.fromEntries(wrapped) as unknown as Activities;
  }

  /** What only looks is asked once, and waited for when it fails: it is left alone. */
  #mayFail(activity: string): void {
    const { failingShare } = this.#given;
    if (['ping', 'readBinding', 'readMember', 'checkSoak'].includes(activity)) return;
    const drawn = this.#random.below(drawnFrom);
    if (drawn * 2 >= failingShare * drawnFrom) return;
    throw ApplicationFailure.retryable('injected', 'injected');
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof ApplicationFailure && error.nonRetryable === true;
}
