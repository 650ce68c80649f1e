/**
 * The phases of a replica's migration and the legal transitions between them.
 *
 * A phase names the step that is to be done next; the binding record holds it. Every step has its
 * compensation beside it in {@link phases}: it is known, and durable with the phase, before the
 * step has any effect. Rollback runs them in the order that `contract.md` CUT-6 and the design
 * demand.
 *
 * A stopped replica:
 *
 *     stop → fence → stop-again ⇄ look → copy → publish → validate → digest-again
 *          → SWAP → repoint → admit → start → probe → soak → finalize → ended
 *
 *     rollback before the swap:
 *       discard → repoint-back → unfence → start-back → probe-back → ended
 *     rollback after the swap:
 *       rollback-stop → rollback-fence → rollback-stop-again ⇄ rollback-look → rollback-digest
 *         equal to the proof:  → rollback-swap → discard → repoint-back → … → ended
 *         written to since:    → copy → … → swap → … → probe → ended, in a fresh instance
 *
 *     forward again, before a reversal's swap:
 *       forward-digest → forward-restore → repoint → admit → start → probe → soak
 *         changed since it was fenced:  → copy → …, the reversal goes on
 *
 * A live one, which its storage host moves (host/live-mirror.ts):
 *
 *     mirror → validate → SWAP → probe → soak → finalize → ended
 *       the proof no longer covers what was written:  swap → validate
 *       the mirror has failed and was left:           validate, swap → mirror
 *       now and then while it soaks:                  soak → soak-validate → soak
 *
 *     rollback before the swap:   discard → probe-back → ended
 *     rollback after the swap:    rollback-validate → rollback-swap → discard → probe-back → ended
 *       the source has failed and was left, or differs:
 *         → mirror → validate → swap → discard → …, back into a fresh instance at its places
 *
 * One whose program alone is replaced (ROLL-1); its storage stays, and the record's primary:
 *
 *     stop → replace → start → probe → soak → finalize → ended
 *     rollback:  rollback-stop → replace-back → start-back → probe-back → ended
 */

/**
 * Forward: towards the target. Back: a reversal that moves the target's state to a fresh source.
 */
export type Direction = 'forward' | 'back';

/**
 * Whether a storage host serves the replica throughout, or it is stopped; or its program alone is
 * replaced.
 */
export type MigrationMode = 'live' | 'stopped' | 'binary';

/** Where a migration stands. */
export interface Position {
  readonly phase: Phase;
  readonly direction: Direction;
  /** Absent in what was said before there was another: stopped. */
  readonly mode?: MigrationMode;
}

export const firstPhase = { live: 'mirror', stopped: 'stop', binary: 'stop' } as const;

interface PhaseDefinition {
  /** What an operator reads. */
  readonly says: string;
  /** Whether the step runs a hook, moves bulk data, or changes names and records only. */
  readonly kind: 'hook' | 'bulk' | 'change' | 'wait';
  /** The step that undoes this one; absent where nothing is to be undone. */
  readonly compensation?: string;
  /** Where a rollback wished for now begins; absent where it is refused or already under way. */
  readonly rollback?: 'discard' | 'rollback-stop';
  /** Where a reversal in this phase turns forward again; absent where it is refused. */
  readonly forwardAgain?: 'forward-digest';
}

const beforeSwap = { rollback: 'discard', forwardAgain: 'forward-digest' } as const;
const afterSwap = { rollback: 'rollback-stop' } as const;

export const phases = {
  stop: { says: 'stop the replica', kind: 'hook', compensation: 'start-back', ...beforeSwap },
  fence: {
    says: 'fence the source and reserve the target',
    kind: 'change',
    compensation: 'unfence',
    ...beforeSwap,
  },
  'stop-again': { says: 'stop the replica once more', kind: 'hook', ...beforeSwap },
  look: { says: 'look for processes that hold the source', kind: 'change', ...beforeSwap },
  mirror: {
    says: 'bootstrap the mirror and begin dual write',
    kind: 'bulk',
    compensation: 'discard',
    ...beforeSwap,
  },
  copy: {
    says: 'export the source into the staging place of the target',
    kind: 'bulk',
    compensation: 'discard',
    ...beforeSwap,
  },
  publish: { says: 'publish the target under its parked name', kind: 'change', ...beforeSwap },
  validate: { says: 'validate: read back and compare both', kind: 'bulk', ...beforeSwap },
  'digest-again': { says: 'digest the source once more', kind: 'bulk', ...beforeSwap },
  swap: {
    says: 'cut over: swap the primary in the record',
    kind: 'change',
    compensation: 'rollback-swap',
    ...beforeSwap,
  },
  repoint: {
    says: 'repoint the replica to the target',
    kind: 'hook',
    compensation: 'repoint-back',
    ...afterSwap,
  },
  admit: {
    says: 'admit the target to its path',
    kind: 'change',
    compensation: 'rollback-fence',
    ...afterSwap,
  },
  replace: {
    says: "replace the replica's program",
    kind: 'hook',
    compensation: 'replace-back',
    ...afterSwap,
  },
  start: {
    says: 'start the replica on the target',
    kind: 'hook',
    compensation: 'rollback-stop',
    ...afterSwap,
  },
  probe: { says: 'probe the replica on the target', kind: 'hook', ...afterSwap },
  soak: { says: 'soak: the replica runs on the target', kind: 'wait', ...afterSwap },
  'soak-validate': { says: 'soak: read back and compare both again', kind: 'bulk', ...afterSwap },
  finalize: { says: 'finalize: retire the source', kind: 'change' },
  'rollback-stop': { says: 'roll back: stop the replica', kind: 'hook' },
  'rollback-fence': { says: 'roll back: fence the target', kind: 'change' },
  'rollback-stop-again': { says: 'roll back: stop the replica once more', kind: 'hook' },
  'rollback-look': { says: 'roll back: look for processes that hold the target', kind: 'change' },
  'rollback-validate': { says: 'roll back: validate: read back and compare both', kind: 'bulk' },
  'rollback-digest': { says: 'roll back: digest the target', kind: 'bulk' },
  'rollback-swap': { says: 'roll back: swap the primary back in the record', kind: 'change' },
  discard: { says: 'roll back: discard the target', kind: 'change' },
  'repoint-back': { says: 'roll back: repoint the replica to the source', kind: 'hook' },
  unfence: { says: 'roll back: unfence the source', kind: 'change' },
  'replace-back': { says: 'roll back: put the program of before back', kind: 'hook' },
  'start-back': { says: 'roll back: start the replica on the source', kind: 'hook' },
  'probe-back': { says: 'roll back: probe the replica on the source', kind: 'hook' },
  'forward-digest': { says: 'forward again: digest the target', kind: 'bulk' },
  'forward-restore': { says: 'forward again: discard what was copied back', kind: 'change' },
  ended: { says: 'ended', kind: 'wait' },
} as const satisfies Record<string, PhaseDefinition>;

export type Phase = keyof typeof phases;

/** Phases that are steps of the machine: each is one activity. */
export type StepPhase = Exclude<Phase, 'soak' | 'ended'>;

const stopped: Partial<Record<Phase, Phase>> = {
  stop: 'fence',
  fence: 'stop-again',
  'stop-again': 'look',
  look: 'copy',
  copy: 'publish',
  publish: 'validate',
  validate: 'digest-again',
  'digest-again': 'swap',
  swap: 'repoint',
  repoint: 'admit',
  admit: 'start',
  start: 'probe',
  probe: 'soak',
  soak: 'finalize',
  finalize: 'ended',
  'rollback-stop': 'rollback-fence',
  'rollback-fence': 'rollback-stop-again',
  'rollback-stop-again': 'rollback-look',
  'rollback-look': 'rollback-digest',
  'rollback-digest': 'rollback-swap',
  'rollback-swap': 'discard',
  discard: 'repoint-back',
  'repoint-back': 'unfence',
  unfence: 'start-back',
  'start-back': 'probe-back',
  'probe-back': 'ended',
  'forward-digest': 'forward-restore',
  'forward-restore': 'repoint',
};

const live: Partial<Record<Phase, Phase>> = {
  mirror: 'validate',
  validate: 'swap',
  swap: 'probe',
  probe: 'soak',
  soak: 'finalize',
  'soak-validate': 'soak',
  finalize: 'ended',
  'rollback-validate': 'rollback-swap',
  'rollback-swap': 'discard',
  discard: 'probe-back',
  'probe-back': 'ended',
};

const binary: Partial<Record<Phase, Phase>> = {
  stop: 'replace',
  replace: 'start',
  start: 'probe',
  probe: 'soak',
  soak: 'finalize',
  finalize: 'ended',
  'rollback-stop': 'replace-back',
  'replace-back': 'start-back',
  'start-back': 'probe-back',
  'probe-back': 'ended',
};

const following = { live, stopped, binary } as const;

/** How a step ended, where it makes a difference to what comes next. */
export type StepOutcome =
  | 'done'
  /** look: a process still holds files. */
  | 'held'
  /** validate, digest-again, rollback-digest, rollback-validate, forward-digest: states differ. */
  | 'different'
  /** Live, validate and the swaps: the mirror failed and was left (DUAL-8). */
  | 'lost'
  /** Live, the swaps: the proof does not cover what was written since (EQ-5). */
  | 'stale';

/**
 * The phase after `phase`. A reversal that ended its probe has nothing to soak: it is a rollback.
 * A copy that turns out different is thrown away: forward that is the rollback, in a reversal the
 * copy is made again.
 */
export function nextPhase({ phase, direction, mode }: Position, outcome: StepOutcome): Phase {
  if (outcome === 'held') return phase === 'look' ? 'stop-again' : 'rollback-stop-again';
  if (mode === 'live') return nextLive(phase, direction, outcome);
  if (mode === 'binary') return binary[phase] ?? none(phase);
  if (outcome === 'different') {
    return phase === 'rollback-digest' || direction === 'back' ? 'copy' : 'discard';
  }
  if (phase === 'probe' && direction === 'back') return 'ended';
  return following.stopped[phase] ?? none(phase);
}

function nextLive(phase: Phase, direction: Direction, outcome: StepOutcome): Phase {
  if (outcome === 'stale') return phase === 'rollback-swap' ? 'rollback-validate' : 'validate';
  if (phase === 'soak-validate') return 'soak';
  if (outcome === 'lost') return phase === 'rollback-swap' ? 'rollback-validate' : 'mirror';
  if (outcome === 'different') {
    return phase === 'rollback-validate' || direction === 'back' ? 'mirror' : 'discard';
  }
  if (phase === 'swap' && direction === 'back') return 'discard';
  return following.live[phase] ?? none(phase);
}

function none(phase: Phase): never {
  throw new Error(`no phase follows ${phase}`);
}

/** Where a rollback wished for now begins; null when it is refused or already under way. */
export function rollbackStart({ phase, direction, mode }: Position): Phase | null {
  if (direction === 'back') return null;
  const { rollback }: PhaseDefinition = phases[phase];
  if (rollback === undefined) return null;
  if (mode === 'binary') return 'rollback-stop';
  return rollback === 'rollback-stop' && mode === 'live' ? 'rollback-validate' : rollback;
}

/** Whether nothing has run on the target, or with the new program, yet. */
export function isBeforeCutover(position: Position): boolean {
  const { rollback }: PhaseDefinition = phases[position.phase];
  const isBefore = rollback === 'discard' || position.phase === 'replace';
  return isBefore && rollbackStart(position) !== null;
}

/**
 * Where a reversal that is to go forward again begins; null when it is refused: the data is on its
 * way back only between the target's digest and the reversal's swap.
 */
export function forwardStart({ phase, direction, mode }: Position): Phase | null {
  if (direction === 'forward' || mode === 'live') return null;
  const definition: PhaseDefinition = phases[phase];
  return definition.forwardAgain ?? null;
}

/** The steps that a rollback wished for now runs, in order; empty when it is refused. */
export function rollbackPlan(position: Position): readonly Phase[] {
  const plan: Phase[] = [];
  let next = rollbackStart(position);
  while (next !== null && next !== 'ended') {
    plan.push(next);
    next = following[position.mode ?? 'stopped'][next] ?? null;
  }
  return plan;
}

/** Whether a step of `phase` may begin where the record says `stands`: the soak waits for nobody. */
export function mayBegin(phase: Phase, stands: Phase): boolean {
  const inSoak = stands === 'soak' || stands === 'soak-validate';
  return phase === stands || (inSoak && (phase === 'finalize' || phase === 'soak-validate'));
}

/** Whether a replica whose record stands there counts as out: not as before, and not verified. */
export function isHalfWay(phase: Phase | null): boolean {
  return phase !== null && !['soak', 'soak-validate', 'finalize', 'ended'].includes(phase);
}

export function isStepPhase(phase: Phase): phase is StepPhase {
  return phase !== 'soak' && phase !== 'ended';
}

export const phaseNames = Object.keys(phases) as readonly Phase[];

export function isPhase(text: string): text is Phase {
  return Object.hasOwn(phases, text);
}
