/** Names and ids: what they look like, and how one follows from another. Pure. */
import { fail } from './errors.ts';

/** One member of one Raft group. Both names: `[A-Za-z0-9._-]{1,64}`, not "." or "..". */
export interface ReplicaName {
  readonly cluster: string;
  readonly member: string;
}

const namePattern = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/;

export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** `cluster/member`, as operators type it. */
export function replicaText(replica: ReplicaName): string {
  return `${replica.cluster}/${replica.member}`;
}

/** @throws `usage.invalid` */
export function parseReplica(text: string): ReplicaName {
  const [cluster = '', member = '', ...rest] = text.split('/');
  if (rest.length > 0 || !isName(cluster) || !isName(member)) {
    throw fail('usage.invalid', {
      reason: `"${text}" is no replica: it must be <cluster>/<member>, of letters, digits, ".", "_", "-"`,
    });
  }
  return { cluster, member };
}

/** The workflow that migrates the replica; one at a time by construction. */
export function replicaWorkflowId(replica: ReplicaName): string {
  return `replica/${replicaText(replica)}`;
}

/** The workflow that migrates a cluster, member by member. */
export function clusterWorkflowId(cluster: string): string {
  return `cluster/${cluster}`;
}

/** The workflow that migrates many clusters. */
export function fleetWorkflowId(fleet: string): string {
  return `fleet/${fleet}`;
}

/** A schedule of fleets' rollouts, as the server calls it. */
export function scheduleId(schedule: string): string {
  return `quorumshift/${schedule}`;
}

/** The workflow that tells of a schedule's missed runs. */
export function scheduleWatchWorkflowId(schedule: string): string {
  return `schedule/${schedule}`;
}

/** Each run of a schedule is called so, with its time behind it. */
export function scheduledRunWorkflowId(schedule: string): string {
  return `scheduled/${schedule}`;
}

/** Of a schedule's run: the same for the same scheduled time. */
export function scheduledRolloutId(at: Date): string {
  return `s${at
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '')}`;
}

/** The workflow that lets one voter of a group be at risk at a time. */
export function groupLeaseWorkflowId(cluster: string): string {
  return `group/${cluster}`;
}

/** Task queue of the process that holds the control plane's own store. */
export const storeTaskQueue = 'quorumshift-store';

/** Task queue of control workers. */
export const controlTaskQueue = 'quorumshift-control';

/** Task queue of one machine's agent: its activities that work. */
export function hostTaskQueue(host: string): string {
  return `host-${host}`;
}

/** Task queue of one machine's agent: short activities that steer the others; slots of its own. */
export function hostControlTaskQueue(host: string): string {
  return `host-${host}-control`;
}

/** Version of the activities' inputs and outputs that this release speaks. */
export const contractVersion = 1;
