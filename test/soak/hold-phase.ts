/**
 * Holds a migration in a phase by the record's own lock: whoever works on the replica can neither
 * begin nor finish a step while it is held, so a kill hits exactly this phase.
 */
import { EventEmitter, once } from 'node:events';
import { watch } from 'node:fs';
import { basename } from 'node:path';

import type { Direction, Phase } from '../../core/phases.ts';
import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { RecordStore } from '../../storage/binding/record-store.ts';

export interface PhaseHold {
  readonly phase: Phase;
  /** Whether an attempt of the step had begun; else the kill hits the boundary before it. */
  readonly begun: boolean;
  /** The record as it is now: nobody but the holder can change it. */
  read(): Promise<BindingRecord | null>;
  release(): Promise<void>;
}

interface WantedPhase {
  readonly migrationId: string;
  readonly phase: Phase;
  /** The way that the data moves; forward unless given. */
  readonly direction?: Direction;
}

/** Resolves when the migration stands in `phase`, held; null when it ended without being caught. */
export async function holdPhase(
  store: RecordStore,
  wanted: WantedPhase,
): Promise<PhaseHold | null> {
  for await (const record of recordsOf(store)) {
    if (record?.lastEnded?.id === wanted.migrationId) return null;
    if (!isIn(record, wanted)) continue;
    const hold = await tryHold(store, wanted);
    if (hold !== null) return hold;
  }
  return null;
}

/** The record now, and after each change of it. */
async function* recordsOf(store: RecordStore): AsyncGenerator<BindingRecord | null> {
  const { root, record } = store.directory;
  // Makes the directory where the agent has not yet.
  await store.locked(async () => {});
  const changes = new EventEmitter();
  let seen = 0;
  let changed = 1;
  // Counted as they come: what changes while a caller looks at a record must not be missed.
  const watcher = watch(root, (_event, name) => {
    if (name !== basename(record)) return;
    changed += 1;
    changes.emit('changed');
  });
  try {
    for (;;) {
      if (seen === changed) await once(changes, 'changed');
      seen = changed;
      yield await store.read();
    }
  } finally {
    watcher.close();
  }
}

/** Takes the lock while the phase lasts; whoever wrote the record lets go of it in a moment. */
async function tryHold(store: RecordStore, wanted: WantedPhase): Promise<PhaseHold | null> {
  for (;;) {
    const lock = await store.files.lock(store.directory.recordLock, 'exclusive');
    const record = await store.read();
    const within = record !== null && isIn(record, wanted);
    if ('holder' in lock) {
      if (!within) return null;
      continue;
    }
    if (within) {
      const begun = hasBegun(record);
      const { phase } = wanted;
      return { phase, begun, read: () => store.read(), release: () => lock.release() };
    }
    await lock.release();
    return null;
  }
}

function isIn(record: BindingRecord | null, wanted: WantedPhase): boolean {
  const { id, phase, direction } = record?.migration ?? {};
  return (
    id === wanted.migrationId &&
    phase === wanted.phase &&
    direction === (wanted.direction ?? 'forward')
  );
}

/** Whether the record shows a step that has begun and not finished. */
export function hasBegun(record: BindingRecord): boolean {
  const { token, migration } = record;
  if (migration === null || token.attempt === 0) return false;
  return migration.results.every(({ step }) => step !== token.step);
}
