/** A rollout as a tree: the cluster, and each of its members with what it waits for. */
import pc from 'picocolors';

import type { ClusterReportSeen } from '../client/cluster-client.ts';
import type { MigrationReport } from '../client/migrations.ts';
import { phases } from '../core/phases.ts';
import type { MemberPlan, ClusterPlan } from '../workflows/plan-cluster.ts';
import type { MemberStatus, RolloutWaiting } from '../workflows/rollout-messages.ts';
import { bytesText, durationText, oneLine } from './output.ts';
import { planEstimateText } from './plan-text.ts';
import { silentRollout } from './silent-rollout.ts';
import { attemptLines, progressLines } from './status-text.ts';

export function clusterText(report: ClusterReportSeen): string {
  const { cluster, rolloutId, run, status, failure, closedAt, startedAt } = report;
  const since = closedAt === null ? `started ${startedAt}` : `ended ${closedAt}`;
  const lines = [`${pc.bold(cluster)}  rollout ${rolloutId ?? '?'}  ${run}  ${since}`];
  if (failure !== null) lines.push(`${pc.red('failed')}   ${failure}`);
  if (status === null) {
    return [...lines, ...silentRollout(run, `${cluster}/<member>`)].join('\n');
  }
  const { stage, waiting, members, order, actions, outcome } = status;
  lines.push(`stage    ${stage}${status.paused ? ', paused' : ''}`);
  if (run === 'running' && waiting !== null) lines.push(...waitingLines(waiting, ''));
  for (const [i, member] of members.entries()) {
    const isLast = i === members.length - 1;
    const migration = report.migrations.find(({ replica }) => replica.member === member.member);
    lines.push(...memberLines(member, { migration: migration ?? null, isLast }));
  }
  if (run === 'running' && order.length > 0 && members.some(isPending)) {
    const left = order.filter((name) =>
      members.some((one) => one.member === name && isPending(one)),
    );
    if (left.length > 0) lines.push(`next     ${left.join(', ')}`);
  }
  if (outcome !== null) lines.push(`outcome  ${outcome}`);
  if (run === 'running' && actions.length > 0) lines.push(`you may  ${actions.join(', ')}`);
  return lines.join('\n');
}

function isPending({ stage }: MemberStatus): boolean {
  return stage === 'pending';
}

function memberLines(
  { member, host, stage, step, migrationId, report, size, reason, standing }: MemberStatus,
  { migration, isLast }: { migration: MigrationReport | null; isLast: boolean },
): string[] {
  const inner = isLast ? '   ' : '│  ';
  const phase = migration?.status?.phase ?? report?.phase ?? null;
  const at = phase === null || phase === 'ended' ? '' : `, ${phases[phase].says}`;
  const id = migrationId === null ? '' : `  migration ${migrationId}`;
  const how = size === null ? '' : `  ${size.mode}, ${bytesText(size.bytes)}`;
  const colour = stage === 'failed' ? pc.red : stage === 'finalized' ? pc.green : pc.bold;
  const binary = step === 'binary' ? ' (binary)' : '';
  const lines = [
    `${isLast ? '└─' : '├─'} ${pc.bold(member)} on ${host}: ${colour(stage)}${binary}${at}${id}${how}`,
  ];
  const details: string[] = [];
  if (standing !== null) {
    const lag = standing.lag === null ? '' : `, lacks ${standing.lag} of what is committed`;
    details.push(pc.dim(`raft     ${standing.role}${lag}, when looked at last`));
  }
  if (reason !== null && ['failed', 'skipped', 'rolled-back'].includes(stage)) {
    details.push(`because  ${oneLine(reason)}`);
  }
  if (migration !== null) {
    details.push(...progressLines(migration));
    if (migration.status !== null) details.push(...attemptLines({ ...migration }));
  }
  const waiting = migration?.status?.waiting ?? report?.waiting ?? null;
  const isOver = ['finalized', 'rolled-back', 'skipped'].includes(stage);
  if (waiting !== null && !isOver) details.push(...waitingLines(waiting, ''));
  lines.push(...details.map((line) => `${inner}${line}`));
  return lines;
}

function waitingLines({ kind, reason, remedy, sinceMs }: RolloutWaiting, indent: string): string[] {
  const since = durationText(Date.now() - sinceMs);
  return [
    `${indent}${pc.yellow('waiting')}  ${kind}: ${oneLine(reason)}`,
    `${indent}         since ${since}; what to do: ${remedy}`,
  ];
}

export function clusterPlanText({ order, refusals, members }: ClusterPlan): string {
  const lines = [`order    ${order.join(', ')}`];
  for (const { member, reason } of refusals) {
    lines.push(`${pc.red('refused')}  ${member === null ? '' : `${member}: `}${reason}`);
  }
  for (const member of members) lines.push(...memberPlanLines(member));
  const sizes = members.flatMap(({ size }) => (size === null ? [] : [size]));
  const bytes = sizes.reduce((sum, size) => sum + size.bytes, 0);
  lines.push(
    '',
    `${bytesText(bytes)} in all; about ${planEstimateText(bytes)}, one member after the other, and each one's soak`,
    'a rollback is possible until finalize',
  );
  return lines.join('\n');
}

function memberPlanLines({ member, host, findings, size, problem }: MemberPlan): string[] {
  const how =
    size === null
      ? ''
      : `${size.mode}, ${size.entries} entries, ${bytesText(size.bytes)}, about ${planEstimateText(size.bytes)}`;
  const failed = findings.filter(({ ok }) => !ok);
  const passed = `${findings.length - failed.length} of ${findings.length} checks passed`;
  return [
    `${pc.bold(member)} on ${host}: ${problem === null ? `${passed}; ${how}` : pc.red(problem)}`,
    ...failed.flatMap(({ check, measured, limit, remedy }) => [
      `  ${pc.red('refused')} ${check}: ${measured} (needs: ${limit})`,
      `          what to do: ${remedy}`,
    ]),
  ];
}

/** Whether a start with this plan would wait, or be refused, at once. */
export function isRefused({ refusals, members }: ClusterPlan): boolean {
  const isWrong = ({ problem, findings }: MemberPlan) =>
    problem !== null || findings.some(({ ok }) => !ok);
  return refusals.length > 0 || members.some(isWrong);
}
