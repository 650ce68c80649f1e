/** A fleet's rollout as a tree: waves, clusters under way, their members; why each waits. */
import pc from 'picocolors';

import type { ClusterReportSeen } from '../client/cluster-client.ts';
import type { FleetReport } from '../client/fleet-client.ts';
import type { ScheduleReport } from '../client/schedule-client.ts';
import type { PlannedWave } from '../core/fleet-plan.ts';
import type { FleetSchedule } from '../schemas/fleet-schedule.ts';
import type { ClusterReport, FleetStatus, WaveStatus } from '../workflows/rollout-messages.ts';
import { clusterText } from './cluster-text.ts';
import { durationText, oneLine } from './output.ts';
import { silentRollout } from './silent-rollout.ts';

/** With the clusters that are shown member by member. */
export interface FleetTree extends FleetReport {
  readonly members: readonly ClusterReportSeen[];
}

export function fleetText(report: FleetTree): string {
  const { fleet, rolloutId, run, status, failure, closedAt, startedAt } = report;
  const since = closedAt === null ? `started ${startedAt}` : `ended ${closedAt}`;
  const lines = [`${pc.bold(fleet)}  rollout ${rolloutId ?? '?'}  ${run}  ${since}`];
  if (failure !== null) lines.push(`${pc.red('failed')}   ${failure}`);
  if (status === null) {
    return [...lines, ...silentRollout(run, '<cluster>/<member>')].join('\n');
  }
  const { stage, waiting, outcome, actions, paused, bytesPerSecond } = status;
  const limit = bytesPerSecond === null ? '' : `, at most ${bytesPerSecond} bytes/s each`;
  lines.push(`stage    ${stage}${paused ? ', paused' : ''}${limit}`, countsLine(status));
  lines.push(...paceLines(status));
  if (run === 'running' && waiting !== null) {
    const waited = durationText(Date.now() - waiting.sinceMs);
    lines.push(
      `${pc.yellow('waiting')}  ${waiting.kind}: ${oneLine(waiting.reason)}`,
      `         since ${waited}; what to do: ${waiting.remedy}`,
    );
  }
  lines.push(...waveLines(report, status));
  if (outcome !== null) lines.push(`outcome  ${outcome}`);
  if (run === 'running' && actions.length > 0) lines.push(`you may  ${actions.join(', ')}`);
  return lines.join('\n');
}

function countsLine({ counts }: FleetStatus): string {
  const { total, begun, moving, soaking, finalized, rolledBack, failed, skipped } = counts;
  const parts = [
    `${begun} of ${total} begun`,
    `${moving} under way`,
    `${soaking} soaking`,
    `${finalized} finalized`,
    ...(failed > 0 ? [pc.red(`${failed} failed`)] : []),
    ...(rolledBack > 0 ? [`${rolledBack} rolled back`] : []),
    ...(skipped > 0 ? [`${skipped} left out`] : []),
  ];
  return `clusters ${parts.join(', ')}`;
}

/** What it did so far, per time, waits and soaks included. */
function paceLines({ counts, startedMs, outcome }: FleetStatus): string[] {
  const { total, finalized, soaking, rolledBack, skipped } = counts;
  const done = finalized + soaking + rolledBack + skipped;
  const elapsedMs = Date.now() - startedMs;
  if (outcome !== null || done === 0 || elapsedMs <= 0) return [];
  const perHour = (done * 3_600_000) / elapsedMs;
  const leftMs = ((total - done) * elapsedMs) / done;
  return [`pace     ${perHour.toFixed(1)} clusters/h, ${durationText(leftMs)} left at that`];
}

function waveLines(report: FleetTree, { waves, clusters }: FleetStatus): string[] {
  const lines: string[] = [];
  let from = 0;
  for (const [number, { name, upTo, state }] of waves.entries()) {
    const isLast = number === waves.length - 1;
    const size = `${from + 1} to ${upTo}`;
    lines.push(`${isLast ? '└─' : '├─'} ${pc.bold(name)} (clusters ${size}): ${stateText(state)}`);
    from = upTo;
    const inner = isLast ? '   ' : '│  ';
    const ofWave = clusters.filter(({ wave }) => wave === number);
    for (const [i, cluster] of ofWave.entries()) {
      const text = clusterLines(report, cluster, i === ofWave.length - 1);
      lines.push(...text.map((line) => `${inner}${line}`));
    }
  }
  return lines;
}

function stateText(state: WaveStatus['state']): string {
  if (state === 'done') return pc.green(state);
  if (state === 'failed') return pc.red(state);
  return state === 'approval' ? pc.yellow('waits for approval') : state;
}

function clusterLines({ members }: FleetTree, report: ClusterReport, isLast: boolean): string[] {
  const { cluster, stage, moved, total, waiting, reason } = report;
  const colour = stage === 'failed' ? pc.red : (text: string) => text;
  const seen = members.find((one) => one.cluster === cluster);
  const head = `${isLast ? '└─' : '├─'} ${pc.bold(cluster)} ${colour(stage)}, ${moved} of ${total} members moved`;
  const why = reason ?? (waiting === null ? null : `${waiting.kind}: ${waiting.reason}`);
  const inner = isLast ? '   ' : '│  ';
  const tree = seen === undefined ? [] : memberTree(clusterText(seen).split('\n'));
  return [
    head,
    ...(why === null ? [] : [`${inner}${pc.dim(oneLine(why))}`]),
    ...tree.map((line) => `${inner}${line}`),
  ];
}

/** Of a cluster's own text, its members: what stands above and below them is said here already. */
function memberTree(lines: readonly string[]): readonly string[] {
  const first = lines.findIndex((line) => /^[├└]─/.test(line));
  return first === -1 ? [] : lines.slice(first).filter((line) => /^[├└│ ]/.test(line));
}

export interface FleetPlan {
  readonly fleet: string;
  readonly clusters: readonly {
    readonly cluster: string;
    readonly wave: string;
    readonly hosts: readonly string[];
    readonly members: number;
    /** Null where it was not asked, or its agents gave no answer. */
    readonly bytes: number | null;
    readonly refusals: readonly string[];
  }[];
  readonly waves: readonly (PlannedWave & { readonly estimateMs: number })[];
  readonly machines: number;
  readonly bytes: number;
  /** What the figures rest on. */
  readonly assumptions: readonly string[];
}

export function fleetPlanText({ clusters, waves, machines, assumptions }: FleetPlan): string {
  const lines = [`${clusters.length} clusters on ${machines} machines`];
  for (const { name, from, to, estimateMs } of waves) {
    lines.push(
      `${pc.bold(name)}: clusters ${from + 1} to ${to}, about ${durationText(estimateMs)}`,
    );
    const named = clusters.slice(from, Math.min(to, from + shownClusters));
    for (const { cluster, hosts, members, bytes, refusals } of named) {
      const size = bytes === null ? '' : `, ${bytes} bytes`;
      lines.push(`  ${cluster}: ${members} members on ${hosts.join(', ')}${size}`);
      lines.push(...refusals.map((reason) => `    ${pc.red('refused')} ${reason}`));
    }
    if (to - from > shownClusters) lines.push(`  and ${to - from - shownClusters} more`);
  }
  const left = clusters.length - (waves.at(-1)?.to ?? 0);
  if (left > 0) lines.push(pc.yellow(`${left} clusters are in no wave: they stay as they are`));
  return [...lines, ...assumptions.map((text) => pc.dim(text))].join('\n');
}

/** Of a wave, in text; JSON has them all. */
const shownClusters = 10;

export function scheduleText(report: ScheduleReport): string {
  const { schedule, fleet, overlap, paused, note, next, recent, running, missed, skipped } = report;
  const lines = [
    `${pc.bold(schedule)}  rolls out fleet ${fleet}${paused ? pc.yellow('  paused') : ''}`,
    `when     ${whenText(report.when, report.timeZone)}; overlap ${overlap}`,
    `next     ${next.length === 0 ? 'never again' : next.slice(0, 3).join(', ')}`,
  ];
  if (note !== '') lines.push(`note     ${note}`);
  if (running > 0) lines.push('running  one of its runs is under way');
  for (const { rolloutId, scheduledAt, startedAt } of recent.slice(0, 5)) {
    lines.push(`run      ${rolloutId}, due ${scheduledAt}, began ${startedAt}`);
  }
  if (skipped > 0) lines.push(`skipped  ${skipped}: the run before was under way`);
  if (missed > 0)
    lines.push(`${pc.red('missed')}   ${missed}: the server was away when they were due`);
  return lines.join('\n');
}

export function whenText(when: FleetSchedule['when'], timeZone: string): string {
  if ('cron' in when) return `${when.cron.join('; ')} (${timeZone})`;
  return 'at' in when ? `once, at ${when.at}` : `every ${durationText(when.everySeconds * 1000)}`;
}
