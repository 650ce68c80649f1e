/**
 * What an operator is told of a replica in whatever state a live migration was interrupted: how it
 * stands, what may be done about it, and by which command.
 */
import { QuorumshiftError } from '../core/errors.ts';
import type { BindingRecord, InstanceRef } from '../schemas/binding-record.ts';

export interface Advised {
  /** `<cluster>/<member>` */
  readonly name: string;
  /** Null where there is none, or it cannot be read. */
  readonly record: BindingRecord | null;
  /** Why it is not served; null when it is. */
  readonly refusal: Error | null;
  /** Whether a cutover could rest on the last proof. */
  readonly holdsProof: boolean;
}

export interface Advice {
  /** How it stands, and what is safe. */
  readonly situation: string;
  /** Commands, the likeliest first. */
  readonly next: string[];
  /** What should wake somebody up. */
  readonly alarms: string[];
}

export function adviceFor(advised: Advised): Advice {
  const { record, refusal } = advised;
  const alarms = alarmsOf(record);
  if (refusal !== null) return { ...refusedAdvice(advised, refusal), alarms };
  if (record?.migration) return { ...owned(advised, record.migration), alarms };
  if (record?.mirror) return { ...mirrored(advised, record.mirror), alarms };
  if (record?.former) return { ...left(advised, record.former), alarms };
  const situation = 'Its primary alone holds its state.';
  return { situation, next: [command(advised, 'mirror', '<uri>')], alarms };
}

type Told = Omit<Advice, 'alarms'>;

function alarmsOf(record: BindingRecord | null): string[] {
  const former = record?.former;
  return former?.alarm ? [`${former.alarm}: ${former.ref.uris.log}: ${former.why}`] : [];
}

function command({ name }: Advised, verb: string, rest = ''): string {
  return `quorumshift replica ${verb} ${name} ${rest}`.trimEnd();
}

/** Whoever owns it is to be steered, not the host; its record answers without Temporal too. */
function owned({ name }: Advised, { id, phase }: NonNullable<BindingRecord['migration']>): Told {
  return {
    situation: `Migration ${id} moves it, in phase ${phase}; the host takes its steps alone.`,
    next: [`quorumshift status ${name}`, `quorumshift status --local ${name}`],
  };
}

function mirrored(advised: Advised, mirror: NonNullable<BindingRecord['mirror']>): Told {
  const at = mirror.ref.uris.log;
  const drop = command(advised, 'drop');
  const prove = command(advised, 'prove');
  const cutover = command(advised, 'cutover');
  if (mirror.stage === 'bootstrapping') {
    return {
      situation: `The primary alone counts; the copy at ${at} has not become its mirror. It goes on from what it has.`,
      next: [command(advised, 'mirror', shortForm(mirror.ref)), drop],
    };
  }
  if (!mirror.wasPrimary) {
    return advised.holdsProof
      ? {
          situation: `Both hold everything, and were proven equal. ${at} can become the primary.`,
          next: [cutover, drop],
        }
      : {
          situation: `Both hold everything; ${at} is not proven yet, or the proof has aged.`,
          next: [prove, drop],
        };
  }
  const finalize = command(advised, 'finalize');
  return {
    situation: `It was cut over; ${at} holds everything and is the way back, which loses nothing.`,
    next: advised.holdsProof ? [finalize, cutover] : [finalize, prove],
  };
}

function left(advised: Advised, former: NonNullable<BindingRecord['former']>): Told {
  const at = former.ref.uris.log;
  if (former.next !== 'keep') {
    return {
      situation: `The primary alone counts; ${at} is being put away.`,
      next: [command(advised, former.wasPrimary ? 'finalize' : 'drop')],
    };
  }
  return {
    situation: `The primary alone counts; ${at} was left and is stale: ${former.why}. Nothing goes back to it. Delete it, then begin anew.`,
    next: [command(advised, 'drop'), command(advised, 'mirror', '<uri>')],
  };
}

function refusedAdvice(advised: Advised, refusal: Error): Told {
  const { record } = advised;
  const remedy = refusal instanceof QuorumshiftError ? refusal.definition.remedy : '';
  const told = { situation: `It is not served. ${remedy}`.trimEnd(), next: [] };
  if (record === null || !(refusal instanceof QuorumshiftError)) return told;
  const { mirror, migration } = record;
  const isOurs = migration === null || migration.mode !== 'stopped';
  const isElsewhere = ['instance.locked', 'record.stamp-newer'].includes(refusal.code);
  if (mirror?.stage !== 'dual' || !isOurs || isElsewhere) return told;
  const [primary, second] = [record.primary.uris.log, mirror.ref.uris.log];
  const promote = (side: string) =>
    command(advised, 'promote', `--reason "…"${side === 'primary' ? ' --side primary' : ''}`);
  if (refusal.code === 'pair.diverged') {
    return {
      situation: `It is not served, and nothing was undone: ${primary} and ${second} differ. Compare them, then go on from the right one alone.`,
      next: [
        `quorumshift verify ${shortForm(record.primary)} ${shortForm(mirror.ref)}`,
        promote('mirror'),
        promote('primary'),
      ],
    };
  }
  const isMirror = concerns(refusal, mirror.ref);
  const [bad, good] = isMirror ? [second, primary] : [primary, second];
  return {
    situation: `It is not served, and nothing was undone: ${bad} cannot be used as it is. Mend it and start the host again, or go on from ${good} alone: it was written to the last.`,
    next: [promote(isMirror ? 'primary' : 'mirror')],
  };
}

/** Whether the refusal names a place of this instance. */
function concerns(refusal: QuorumshiftError, ref: InstanceRef): boolean {
  const path = shortForm(ref).replace(/^[a-z-]+:\/\//, '');
  return Object.values(refusal.details).some((text) =>
    [' ', '"', '/'].some((end) => `${text} `.includes(`${path}${end}`)),
  );
}

/** As commands take it, where its three URIs have one; else the log's. */
function shortForm({ uris: { log, meta } }: InstanceRef): string {
  const base = log.replace(/\/log$/, '');
  return meta === `${base}/raft_meta` ? base : log;
}
