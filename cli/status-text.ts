/** What an operator sees in one look: where it stands, why it waits, what is safe to do. */
import pc from 'picocolors';

import type { AttemptReport } from '../client/attempt-report.ts';
import type { MigrationReport } from '../client/migrations.ts';
import { replicaText } from '../core/ids.ts';
import { phases, type MigrationMode, type Phase } from '../core/phases.ts';
import type { ReplicaStatus } from '../host/proto/gen/storage_host_admin.ts';
import type { BindingRecord, LeftAside, StepResult } from '../schemas/binding-record.ts';
import type { MachineLook } from './machine-record.ts';
import { bytesText, durationText, oneLine } from './output.ts';

/** What Temporal knows, and what the machine's record says where it can be read from here. */
export interface MergedReport extends MigrationReport {
  readonly machine: MachineLook;
}

/** A step that no agent has taken by then: the agent does not answer. */
const takenWithinMs = 5_000;

export function reportText(report: MergedReport): string {
  const { status, machine } = report;
  const name = replicaText(report.replica);
  const lines = [`${pc.bold(name)}  migration ${report.migrationId ?? '?'}  ${runText(report)}`];
  if (status === null) {
    lines.push('the workflow does not answer: is a control worker running?');
    lines.push(...attemptLines(report));
    if (machine.record === null) {
      lines.push(`on its machine, see: quorumshift status --local ${name}`);
      return [...lines, ...problemLines(machine)].join('\n');
    }
    lines.push('what its machine says:', recordText(machine.record, machine.served));
    return lines.join('\n');
  }
  if (status.coordinator != null) lines.push(`part of  ${status.coordinator}`);
  lines.push(`from     ${status.input.source.log}`, `to       ${status.input.target.log}`);
  if (status.phase !== null) lines.push(`phase    ${phaseText(status.phase)}`);
  if (status.view !== null && status.phase !== null) {
    lines.push(`primary  ${placeText(status.view.primary.log, status.view.primary.parkedTag)}`);
    if (status.view.proof !== null) {
      const { digest, generation } = status.view.proof;
      lines.push(`proof    ${digest} (generation ${generation})`);
    }
  }
  lines.push(...servedLines(machine.served), ...pauseLines(status.results));
  lines.push(...machineLines(report), ...attemptLines(report), ...progressLines(report));
  // Of a run that is over, the workflow's last words no longer hold.
  const runs = report.run === 'running';
  if (runs && status.waiting !== null) {
    const { kind, reason, remedy, sinceMs } = status.waiting;
    lines.push(`${pc.yellow('waiting')}  ${kind}: ${oneLine(reason)}`);
    lines.push(`         since ${durationText(Date.now() - sinceMs)}; what to do: ${remedy}`);
  }
  for (const finding of status.findings.filter(({ ok }) => !ok)) {
    lines.push(
      `${pc.red('refused')}  ${finding.check}: ${finding.measured} (needs ${finding.limit})`,
    );
    lines.push(`         what to do: ${finding.remedy}`);
  }
  if (report.failure !== null) lines.push(`${pc.red('failed')}   ${report.failure}`);
  if (status.outcome !== null) lines.push(`outcome  ${status.outcome}`);
  lines.push(...ownedLines(report));
  if (runs && status.actions.length > 0) lines.push(`you may  ${status.actions.join(', ')}`);
  if (runs && status.compensations.length > 0) {
    lines.push(pc.dim(`rollback would: ${status.compensations.join(' → ')}`));
  }
  return lines.join('\n');
}

/** What its storage host measures: in the soak of a live migration, how the target does. */
function servedLines(served: ReplicaStatus | null): string[] {
  if (served === null) return [];
  const { refusal, mirror, stage, former, firstIndex, lastIndex, term } = served;
  if (refusal !== '') return [`${pc.red('host')}     it is not served: ${refusal}`];
  const range = `entries ${firstIndex}..${lastIndex}, term ${term}`;
  const lines = [
    `host     ${range}; append p50 ${msText(served.appendP50Ms)}, p99 ${msText(served.appendP99Ms)}`,
  ];
  if (mirror !== undefined) {
    const lag = `; p99 ${msText(served.mirrorLagP99Ms)} longer than the primary`;
    lines.push(`mirror   ${mirror.logUri}, ${stage}${stage === 'dual' ? lag : ''}`);
  }
  if (former !== undefined) {
    const lost = former.wasPrimary ? ' (rollback target lost)' : '';
    lines.push(`${pc.yellow('left')}     ${former.logUri}${lost}: ${former.why}`);
  }
  return lines;
}

function pauseLines(results: readonly StepResult[]): string[] {
  const pauses = results.flatMap(({ did, info }) => {
    const ms = info['pauseMs'];
    return typeof ms === 'number' ? [`${did} ${msText(ms)}`] : [];
  });
  return pauses.length === 0 ? [] : [`pause    writers waited: ${pauses.join(', ')}`];
}

function msText(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}

function runText(report: MigrationReport): string {
  const colour = report.run === 'failed' ? pc.red : pc.green;
  const since = `started ${report.startedAt}`;
  return `${colour(report.run)}  ${report.closedAt ? `ended ${report.closedAt}` : since}`;
}

/** Its name, and what it does; that of some begins with the name. */
function phaseText(phase: Phase): string {
  const { says } = phases[phase];
  return says.startsWith(`${phase}: `) ? says : `${phase}: ${says}`;
}

function placeText(log: string, parkedTag: string | null): string {
  return parkedTag === null ? `${log} (at its place)` : `${log} (parked under ${parkedTag})`;
}

export function progressLines(report: MigrationReport): string[] {
  const { progress } = report;
  const lines: string[] = [];
  if (progress !== null && progress.bytesTotal > 0) {
    const { bytesDone, bytesTotal, bytesPerSecond, paused } = progress;
    const percent = Math.min(100, Math.floor((bytesDone * 100) / bytesTotal));
    const left = Math.max(0, bytesTotal - bytesDone) / Math.max(1, bytesPerSecond);
    const rate = paused ? 'paused' : `${bytesText(bytesPerSecond)}/s`;
    const time = bytesPerSecond > 0 ? `, ${durationText(left * 1000)} left` : '';
    lines.push(`progress ${percent} % of ${bytesText(bytesTotal)}, ${rate}${time}`);
  }
  return lines;
}

/** The record on the machine, which counts: the workflow may not have seen its newest state. */
function machineLines({ machine, status }: MergedReport): string[] {
  const { record } = machine;
  if (record === null) return problemLines(machine);
  const { lease, step, attempt } = record.token;
  const phase = record.migration?.phase ?? 'no migration';
  const ahead =
    status?.phase === phase || status?.outcome !== null ? '' : ', ahead of its workflow';
  const at = `revision ${record.revision}, generation ${record.generation}`;
  return [`record   ${phase}${ahead}; token ${lease}.${step}.${attempt}, ${at}`];
}

function problemLines({ problem }: MachineLook): string[] {
  return problem === null ? [] : [`${pc.red('record')}   ${problem}`];
}

/** What a run that is over has left: the record goes on naming a migration that has not ended. */
function ownedLines({ replica, run, status, machine }: MergedReport): string[] {
  const migration = machine.record?.migration ?? null;
  const letGo = status?.outcome === 'abandoned' || status?.outcome === 'superseded';
  if (run === 'running' || (migration === null && !(letGo && machine.record === null))) return [];
  const said =
    migration === null
      ? 'its machine may still hold it'
      : `its machine still holds migration ${migration.id}, in phase ${migration.phase}`;
  const resume = `quorumshift resume ${replicaText(replica)} --from-record`;
  return [`${pc.yellow('not over')} ${said}: ${resume}, there`];
}

/** The step under way, as its agent is heard from. */
export function attemptLines({ attempt, status, run }: MigrationReport): string[] {
  if (attempt === null || run !== 'running') return [];
  const lines = [`step     ${attempt.step}, attempt ${attempt.number}, ${heardFrom(attempt)}`];
  if (attempt.lastFailure !== null) lines.push(`         failed before: ${attempt.lastFailure}`);
  const waitedMs = Date.now() - Date.parse(attempt.scheduledAt ?? '');
  if (!attempt.taken && waitedMs > takenWithinMs) {
    const machine = status === null ? 'its machine' : `machine ${status.input.host}`;
    const says = `does not answer for ${durationText(waitedMs)}: is its agent running?`;
    lines.push(`${pc.yellow('agent')}    ${machine} ${says} The migration goes on once it is`);
  }
  return lines;
}

function heardFrom({ taken, heartbeatAt, scheduledAt }: AttemptReport): string {
  const now = Date.now();
  if (!taken) {
    const waitsMs = Date.parse(scheduledAt ?? '') - now;
    return waitsMs > 0 ? `tried again in ${durationText(waitsMs)}` : 'not taken yet';
  }
  if (heartbeatAt === null) return 'under way';
  return `last heard from ${durationText(Math.max(0, now - Date.parse(heartbeatAt)))} ago`;
}

/** The same from the machine's record, without Temporal. */
function asideLines(leftAside: readonly LeftAside[]): string[] {
  return leftAside.map(({ uris, tag, why }) => `aside    ${uris.log} ${tag}: ${why}`);
}

const whileItStands = {
  live: {
    leave: 'the storage host serves it, and no write is lost',
    never: 'move or remove its instances, or steer them by hand beside the migration',
  },
  stopped: {
    leave: 'nothing opens at a fenced place, and no write is lost',
    never: 'move or remove fence files, or start the replica by hand while it is fenced',
  },
  binary: {
    leave: 'its storage stays where it is; while it is stopped its group does without it',
    never: 'replace its program, or start the replica, by hand beside the migration',
  },
} as const satisfies Record<MigrationMode, object>;

export function recordText(record: BindingRecord, served: ReplicaStatus | null = null): string {
  const { migration, primary, lastEnded } = record;
  const name = replicaText(record.replica);
  const lines = [
    `${pc.bold(name)}  generation ${record.generation}, revision ${record.revision}`,
    `primary  ${placeText(primary.uris.log, primary.parkedTag)}`,
    ...servedLines(served),
  ];
  if (migration === null) {
    lines.push('no migration owns it: it is safe to start a new one');
    if (lastEnded !== null) {
      lines.push(`last     migration ${lastEnded.id}: ${lastEnded.result}, ${lastEnded.at}`);
      lines.push(...asideLines(lastEnded.leftAside));
    }
    return lines.join('\n');
  }
  const { phase, direction, rollback, input, proof } = migration;
  lines.push(
    `owner    migration ${migration.id}, lease ${record.lease}, step ${record.token.step}`,
  );
  lines.push(`phase    ${phaseText(phase)}`);
  lines.push(`from     ${input.source.log}`, `to       ${input.target.log}`);
  if (direction === 'back') lines.push('         going back into a fresh instance at the source');
  if (rollback !== null)
    lines.push(`rollback decided by ${rollback.by}: ${oneLine(rollback.reason)}`);
  if (proof !== null) lines.push(`proof    ${proof.digest} (${proof.file})`);
  lines.push(...asideLines(migration.leftAside));
  const { leave, never } = whileItStands[migration.mode];
  lines.push(
    `${pc.bold('safe:')} leave it as it is: ${leave}`,
    `${pc.bold('safe:')} quorumshift resume ${name} --from-record  (if no workflow runs)`,
    ...(rollback === null
      ? [`${pc.bold('safe:')} quorumshift rollback ${name} --from-record  (likewise, to go back)`]
      : []),
    `${pc.bold('never:')} ${never}`,
  );
  return lines.join('\n');
}
