/**
 * The clusters of a fleet that have begun and not ended: what each last said of itself, and what it
 * is still to be told. Compact, since all of it goes from run to run.
 */
import type {
  ClusterOrder,
  ClusterReport,
  ClusterStage,
  SentClusterReport,
} from './rollout-messages.ts';

export type Standing =
  /** Takes its machines' slots and one of the window. */
  | 'under-way'
  /** Its storages are moved for good; its second step is to have a slot, and has none yet. */
  | 'between-steps'
  | 'soaking'
  /** Has soaked as long as the policy says. */
  | 'soaked'
  /** Stands still until an operator has chosen. */
  | 'failed'
  /** Another rollout has the cluster: waited for. */
  | 'foreign'
  /** Its result is being recorded. */
  | 'ended';

/** An order, before it has an id and a name. */
export type Order = ClusterOrder extends infer Each
  ? Each extends unknown
    ? Omit<Each, 'operationId' | 'by'>
    : never
  : never;

export interface FleetMember {
  readonly position: number;
  readonly cluster: string;
  hosts: readonly string[];
  /** The how manieth of this fleet's starts: a rollback goes in reverse. */
  readonly begun: number;
  standing: Standing;
  /** Counts against the failure budget: until it soaks, or an operator leaves it out. */
  counts: boolean;
  /** Wished to go on, or to be started, once its slots are free. */
  retry: boolean;
  /** Its workflow is being started: it can be told nothing yet. Over before a run hands on. */
  starting: boolean;
  /** Its workflow is not there: it is started, not told. */
  absent: boolean;
  /** Given back by the fleet's rollback. */
  rollingBack: boolean;
  /** Told to finalize, with its wave. */
  finalizes: boolean;
  /** When it was given a slot for its second step; null: not by this run. */
  slotToldMs: number | null;
  /** How often its workflow was gone without a report. */
  lost: number;
  report: ClusterReport | null;
  heardMs: number;
  /** Why it stands so, where its own report does not say. */
  reason: string | null;
  readonly outbox: Order[];
}

/** As it goes to the next run; what soaks has no hosts any more, and is by far the most. */
export type CarriedMember = readonly [
  position: number,
  cluster: string,
  begun: number,
  standing: Standing,
  rest?: {
    readonly hosts: readonly string[];
    readonly counts: boolean;
    readonly retry: boolean;
    readonly absent: boolean;
    readonly rollingBack: boolean;
    readonly finalizes: boolean;
    readonly lost: number;
    readonly reason: string | null;
  },
];

export function newMember(given: {
  readonly position: number;
  readonly cluster: string;
  readonly hosts: readonly string[];
  readonly begun: number;
}): FleetMember {
  return {
    ...given,
    standing: 'under-way',
    counts: false,
    retry: false,
    starting: false,
    absent: false,
    rollingBack: false,
    finalizes: false,
    slotToldMs: null,
    lost: 0,
    report: null,
    heardMs: Date.now(),
    reason: null,
    outbox: [],
  };
}

export function carriedMember(member: FleetMember): CarriedMember {
  const { position, cluster, begun, standing, hosts, counts, retry, absent } = member;
  const { rollingBack, finalizes, lost, reason } = member;
  const plain = standing === 'soaking' || standing === 'soaked';
  if (plain && !rollingBack && !finalizes && !counts) return [position, cluster, begun, standing];
  const rest = { hosts, counts, retry, absent, rollingBack, finalizes, lost, reason };
  return [position, cluster, begun, standing, rest];
}

export function memberOf(carried: CarriedMember): FleetMember {
  const [position, cluster, begun, standing, rest] = carried;
  return { ...newMember({ position, cluster, begun, hosts: [] }), standing, ...rest };
}

const standings: Readonly<Record<ClusterStage, Standing>> = {
  preflight: 'under-way',
  moving: 'under-way',
  'rolling-back': 'under-way',
  soaking: 'soaking',
  finalizing: 'soaked',
  failed: 'failed',
  ended: 'ended',
};

/** A report that was on its way when a slot was given comes within this. */
const crossingMs = 15_000;

/** Where a cluster stands by its own report. */
function standingOf({ stage, waiting }: ClusterReport): Standing {
  // Refused before it began, or not to be taken back: it waits for an operator, too.
  if (waiting?.kind === 'failed') return 'failed';
  if (waiting?.kind === 'slot') return 'between-steps';
  const soaked = stage === 'soaking' && waiting?.kind === 'finalize';
  return soaked ? 'soaked' : standings[stage];
}

/**
 * Takes a report in; false when it says nothing new. Reports of one workflow may overtake each
 * other: the newest counts. The first of all comes again from a cluster that was started anew.
 */
export function takeReport(member: FleetMember, sent: SentClusterReport): boolean {
  const { hosts = member.hosts, ...report } = sent;
  const { seq } = report;
  if (member.standing === 'ended' || (seq <= (member.report?.seq ?? 0) && seq !== 1)) return false;
  member.report = report;
  member.heardMs = Date.now();
  member.absent = false;
  member.reason = null;
  const said = standingOf(report);
  // It has crossed with the slot that was given.
  const hasSlot = Date.now() - (member.slotToldMs ?? -Infinity) < crossingMs;
  const standing = said === 'between-steps' && hasSlot ? 'under-way' : said;
  if (standing === 'failed' && member.standing !== 'failed') member.retry = false;
  member.standing = standing;
  member.hosts = hosts;
  // It moves on to its second step, which is finalized by another word.
  if (standing === 'under-way' || standing === 'between-steps') member.finalizes = false;
  if (standing === 'failed') member.counts = !member.rollingBack;
  if (standing === 'soaking' || standing === 'soaked') member.counts = false;
  return true;
}

/** What its workflow has not said, said for it. */
export function reportOf(member: FleetMember, rolloutId: string): ClusterReport {
  if (member.report !== null && member.reason === null) return member.report;
  const { cluster, standing, reason } = member;
  const stages = {
    'under-way': 'preflight',
    'between-steps': 'preflight',
    soaking: 'soaking',
    soaked: 'soaking',
    failed: 'failed',
    foreign: 'preflight',
    ended: 'ended',
  } as const;
  const waiting =
    standing === 'foreign'
      ? { kind: 'held' as const, reason: reason ?? '', remedy: 'wait', sinceMs: member.heardMs }
      : null;
  return {
    cluster,
    rolloutId,
    seq: 0,
    moved: member.report?.moved ?? 0,
    total: member.report?.total ?? 0,
    stage: stages[standing],
    waiting,
    outcome: member.report?.outcome ?? null,
    reason,
  };
}
