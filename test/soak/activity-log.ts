/** What the agents' own log says of a rollout, without asking the rollout. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

import { isStepPhase, phases, type Phase } from '../../core/phases.ts';
import type { LoggedActivity } from './simulated-agents.ts';

export interface LogFindings {
  /** Clusters under way at once, at most. */
  readonly mostClusters: number;
  /** Clusters under way on one machine at once, at most. */
  readonly mostOnMachine: number;
  /** Members of one cluster in a step before the end of their probe at once, at most. */
  readonly mostMembers: number;
  readonly activities: number;
  readonly failedAttempts: number;
  /** Clusters that had soaked, by the time of the last one's end. */
  readonly movedAtMs: readonly number[];
  /** When each activity began. */
  readonly beganAtMs: readonly number[];
  /** When each step began. */
  readonly stepsAtMs: readonly number[];
  /**
   * Of the clusters that were under way at the resume: when the last of them began its next step,
   * after it.
   */
  readonly resumedAfterMs: number;
}

const steps = new Set<string>((Object.keys(phases) as Phase[]).filter(isStepPhase));

/**
 * A cluster is under way from when its first member is taken until all have been probed on their
 * targets; one whose step was refused stands still, until a step of it begins anew.
 */
export async function readActivityLog(
  logFile: string,
  /** Of each cluster's members. */
  hosts: ReadonlyMap<string, readonly string[]>,
  /** When what had been stopped was resumed. */
  resumedAtMs = Number.POSITIVE_INFINITY,
): Promise<LogFindings> {
  let stood: Set<string> | null = null;
  let resumedAfterMs = 0;
  const underWay = new Map<string, Set<string>>();
  const onMachine = new Map<string, Set<string>>();
  const moved = new Map<string, Set<string>>();
  const moving = new Map<string, Set<string>>();
  const movedAtMs: number[] = [];
  const stepsAtMs: number[] = [];
  const beganAtMs: number[] = [];
  const found = { mostClusters: 0, mostOnMachine: 0, mostMembers: 0, activities: 0, failed: 0 };
  const end = (cluster: string) => {
    underWay.delete(cluster);
    for (const clusters of onMachine.values()) clusters.delete(cluster);
  };
  for await (const line of createInterface({ input: createReadStream(logFile) })) {
    const { atMs, host, replica, activity, event } = JSON.parse(line) as LoggedActivity;
    const [cluster = '', member = ''] = replica.split('/');
    if (event === 'begin') {
      found.activities += 1;
      beganAtMs.push(atMs);
    }
    if (event === 'fail') found.failed += 1;
    if (atMs >= resumedAtMs) stood ??= new Set(underWay.keys());
    if (activity !== 'own' && !steps.has(activity)) continue;
    if (event === 'begin') stepsAtMs.push(atMs);
    if (event === 'begin' && stood?.delete(cluster)) resumedAfterMs = atMs - resumedAtMs;
    const members = setOf(moving, cluster);
    const done = setOf(moved, cluster);
    if (event === 'begin' && !done.has(member)) {
      setOf(underWay, cluster).add(member);
      for (const one of hosts.get(cluster) ?? []) setOf(onMachine, one).add(cluster);
      members.add(member);
    }
    found.mostClusters = Math.max(found.mostClusters, underWay.size);
    found.mostOnMachine = Math.max(found.mostOnMachine, setOf(onMachine, host).size);
    found.mostMembers = Math.max(found.mostMembers, members.size);
    if (event === 'refuse') end(cluster);
    if (event !== 'end' || activity !== 'probe') continue;
    members.delete(member);
    done.add(member);
    if (done.size < (hosts.get(cluster)?.length ?? 0)) continue;
    movedAtMs.push(atMs);
    end(cluster);
  }
  const { failed, ...rest } = found;
  if (stood !== null && stood.size > 0) resumedAfterMs = Number.POSITIVE_INFINITY;
  return { ...rest, failedAttempts: failed, movedAtMs, beganAtMs, stepsAtMs, resumedAfterMs };
}

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  const found = sets.get(key) ?? new Set<string>();
  sets.set(key, found);
  return found;
}
