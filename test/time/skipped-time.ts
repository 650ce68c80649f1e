/**
 * Clusters on simulated machines under Temporal's test server, whose clock jumps to the next timer
 * while a test waits for a result and nothing runs: the product's own workers, its store and the
 * real activities. What happened when is read from the histories, which have the workflows' clock.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';

import { quiet } from '../../core/log.ts';
import { ClusterClient } from '../../client/cluster-client.ts';
import { FleetClient } from '../../client/fleet-client.ts';
import { MigrationClient } from '../../client/migration-client.ts';
import { storeSnapshot } from '../setup/stored-snapshot.ts';
import { clusterWorkflowId, groupLeaseWorkflowId, replicaWorkflowId } from '../../core/ids.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import { controlConfigSchema } from '../../schemas/control-config.ts';
import { rolloutPolicySchema } from '../../schemas/rollout-policy.ts';
import { createControlWorker } from '../../worker/control-worker.ts';
import { createStoreWorker } from '../../worker/store-worker.ts';
import { installRuntime } from '../../worker/temporal-runtime.ts';
import { freePort } from '../setup/free-ports.ts';
import { SimulatedAgents } from '../soak/simulated-agents.ts';
import { placed, simulatedRollouts } from '../soak/simulated-fleet.ts';

export const hourMs = 60 * 60_000;
export const dayMs = 24 * hourMs;

/** What lies between an event's time and the moment that it was due: the workers' own time. */
export const slackMs = 60_000;

/** Between two looks at children. */
const lookMs = 100;

interface Runner {
  run(): Promise<void>;
  shutdown(): void;
}

/** Something that a workflow did, by the workflow's clock. */
export interface Happening {
  /** Of an activity or a workflow: its type. */
  readonly what: string;
  readonly atMs: number;
}

interface RunHistory {
  readonly happenings: readonly Happening[];
  readonly children: readonly { readonly workflowId: string; readonly runId: string }[];
  /** Of those that it continues. */
  readonly firstRunId: string;
  /** That continues it; null: none does. */
  readonly nextRunId: string | null;
}

export class SkippedTime {
  readonly environment: TestWorkflowEnvironment;
  readonly migrations: MigrationClient;
  readonly clusters: ClusterClient;
  readonly fleets: FleetClient;
  readonly #root: string;
  readonly #runners: readonly Runner[];
  readonly #ended: Promise<unknown>;
  readonly #agents: SimulatedAgents;
  readonly #children: LateChildren;

  /** With these clusters, of three members each on three machines. */
  static async start(clusters: readonly string[]): Promise<SkippedTime> {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-time-'));
    installRuntime(quiet);
    const port = await freePort();
    const environment = await TestWorkflowEnvironment.createTimeSkipping({
      server: {
        port,
        executable: { type: 'existing-path', path: process.env['QUORUMSHIFT_TIME_SKIPPING'] ?? '' },
      },
    });
    const { nativeConnection: connection, namespace = 'default' } = environment;
    const agents = new SimulatedAgents({
      logFile: join(root, 'activities.jsonl'),
      doomedFile: join(root, 'doomed'),
      failingShare: 0,
      seed: 1,
      entries: 20,
      machines: placed(clusters.map((cluster) => rolloutOf(cluster, {}))),
    });
    const runners: Runner[] = [
      await createControlWorker({ connection, namespace }),
      await createStoreWorker({
        connection,
        namespace,
        address: `127.0.0.1:${port}`,
        config: controlConfigSchema.parse({ controlDir: join(root, 'control') }),
        log: () => {},
      }),
      ...(await agents.workers(connection, namespace)),
    ];
    const children = new LateChildren(environment, clusters.flatMap(childrenOf));
    return new SkippedTime({ environment, root, runners, agents, children });
  }

  private constructor(given: {
    readonly environment: TestWorkflowEnvironment;
    readonly root: string;
    readonly runners: readonly Runner[];
    readonly agents: SimulatedAgents;
    readonly children: LateChildren;
  }) {
    this.environment = given.environment;
    this.#root = given.root;
    this.#runners = given.runners;
    this.#agents = given.agents;
    this.#children = given.children;
    this.#ended = Promise.all(given.runners.map((runner) => runner.run()));
    const options = { client: this.temporal, identity: 'test' };
    this.migrations = new MigrationClient(options);
    this.clusters = new ClusterClient(options);
    this.fleets = new FleetClient(options);
  }

  get temporal(): Client {
    return this.environment.client;
  }

  nowMs(): Promise<number> {
    return this.environment.currentTimeMs();
  }

  /** Everything that is due until then happens. */
  async skip(ms: number): Promise<void> {
    await this.environment.sleep(ms);
  }

  snapshot(rollouts: readonly ClusterRollout[]): Promise<string> {
    return storeSnapshot(join(this.#root, 'control'), rollouts);
  }

  /** What the newest run of a workflow, and those that it continues, did. */
  async happenings(workflowId: string): Promise<Happening[]> {
    return this.#from(workflowId, (await this.#history(workflowId, undefined)).firstRunId);
  }

  /** What all migrations of a cluster's rollout did, in the order of time. */
  async ofMembers(cluster: string): Promise<Happening[]> {
    const workflowId = clusterWorkflowId(cluster);
    const { firstRunId } = await this.#history(workflowId, undefined);
    const found: Happening[] = [];
    for (const { children } of await this.#chain(workflowId, firstRunId)) {
      for (const child of children)
        found.push(...(await this.#from(child.workflowId, child.runId)));
    }
    return found.toSorted((a, b) => a.atMs - b.atMs);
  }

  async #from(workflowId: string, runId: string): Promise<Happening[]> {
    return (await this.#chain(workflowId, runId)).flatMap(({ happenings }) => happenings);
  }

  /** This run and those that continue it. */
  async #chain(workflowId: string, runId: string): Promise<RunHistory[]> {
    const runs: RunHistory[] = [];
    for (let next: string | null = runId; next !== null;) {
      const run: RunHistory = await this.#history(workflowId, next);
      runs.push(run);
      next = run.nextRunId;
    }
    return runs;
  }

  async #history(workflowId: string, runId: string | undefined): Promise<RunHistory> {
    const handle = this.temporal.workflow.getHandle(workflowId, runId);
    const { events } = await handle.fetchHistory();
    const happenings: Happening[] = [];
    const children: { workflowId: string; runId: string }[] = [];
    let firstRunId = '';
    let nextRunId: string | null = null;
    for (const event of events ?? []) {
      const { seconds, nanos } = event.eventTime ?? {};
      const atMs = Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1e6;
      const happens = (what: string) => happenings.push({ what, atMs });
      const activity = event.activityTaskScheduledEventAttributes?.activityType?.name;
      if (activity != null) happens(activity);
      const started = event.workflowExecutionStartedEventAttributes;
      if (started != null) {
        happens('run');
        firstRunId = started.firstExecutionRunId ?? '';
      }
      if (event.workflowExecutionCompletedEventAttributes != null) happens('end');
      nextRunId = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? null;
      const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
      if (child?.workflowId != null && child.runId != null) {
        children.push({ workflowId: child.workflowId, runId: child.runId });
      }
    }
    return { happenings, children, firstRunId, nextRunId };
  }

  async close(): Promise<void> {
    await this.#children.stop();
    for (const runner of this.#runners) runner.shutdown();
    await this.#ended;
    this.#agents.close();
    await this.environment.teardown();
    await rm(this.#root, { recursive: true, force: true });
  }
}

/**
 * The test server locks its clock for a child that ends after its parent, and never unlocks it: as
 * of a group's lease, a child of the migration that asked for it first. Unlocked here, once for
 * each such end that the closed parent's history does not know.
 */
class LateChildren {
  readonly #environment: TestWorkflowEnvironment;
  readonly #workflowIds: readonly string[];
  readonly #known = new Set<string>();
  readonly #looking: Promise<void>;
  #isOver = false;

  constructor(environment: TestWorkflowEnvironment, workflowIds: readonly string[]) {
    this.#environment = environment;
    this.#workflowIds = workflowIds;
    this.#looking = this.#look();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#looking;
  }

  async #look(): Promise<void> {
    while (!this.#isOver) {
      for (const workflowId of this.#workflowIds) {
        if (await this.#isLate(workflowId)) {
          await this.#environment.connection.testService?.unlockTimeSkipping({});
        }
      }
      await delay(lookMs);
    }
  }

  /** The newest run has ended, which nobody has known before, and too late for its parent. */
  async #isLate(workflowId: string): Promise<boolean> {
    const { workflow } = this.#environment.client;
    const child = await workflow
      .getHandle(workflowId)
      .describe()
      .catch((error: unknown) => {
        if (error instanceof WorkflowNotFoundError) return null;
        throw error;
      });
    const { parentExecution, closeTime, runId = '' } = child ?? {};
    const { workflowId: parentId, runId: parentRunId } = parentExecution ?? {};
    if (closeTime === undefined || parentId == null || parentRunId == null) return false;
    if (this.#known.has(runId)) return false;
    this.#known.add(runId);
    const { events } = await workflow.getHandle(parentId, parentRunId).fetchHistory();
    const isEnd = (event: NonNullable<typeof events>[number]) =>
      event.workflowExecutionCompletedEventAttributes != null ||
      event.childWorkflowExecutionCompletedEventAttributes?.workflowExecution?.runId === runId ||
      event.childWorkflowExecutionTerminatedEventAttributes?.workflowExecution?.runId === runId;
    const end = events?.find(isEnd);
    return end?.workflowExecutionCompletedEventAttributes != null;
  }
}

/** Of three members, one on each machine. */
export function rolloutOf(
  cluster: string,
  policy: Readonly<Record<string, unknown>>,
): ClusterRollout {
  const [made] = simulatedRollouts({
    names: [cluster],
    members: 3,
    machines: 3,
    rolloutId: 'r',
    policy: rolloutPolicySchema.parse({ target: 'memory://new-{cluster}-{member}', ...policy }),
  });
  if (made === undefined) throw new Error('one was asked for');
  return made;
}

/** The window from two to four o'clock (UTC) of the day that begins then. */
export function nightOf(dayStartMs: number): Record<string, unknown> {
  const names = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
  return { days: [names[new Date(dayStartMs).getUTCDay()]], from: '02:00', to: '04:00' };
}

/** The start of today (UTC). */
export function dayOf(atMs: number): number {
  return Math.floor(atMs / dayMs) * dayMs;
}

export function timesOf(happenings: readonly Happening[], ...what: readonly string[]): number[] {
  return happenings.filter((one) => what.includes(one.what)).map(({ atMs }) => atMs);
}

function childrenOf(cluster: string): string[] {
  const { members } = rolloutOf(cluster, {});
  return [
    clusterWorkflowId(cluster),
    groupLeaseWorkflowId(cluster),
    ...members.map(({ member }) => replicaWorkflowId({ cluster, member })),
  ];
}
