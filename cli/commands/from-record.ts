/**
 * `resume --from-record` and `rollback --from-record`: a new workflow adopts the record that lies on
 * this machine, to go on or to go back. Straight to Temporal: whoever may read the record is an
 * administrator.
 */
import { fail } from '../../core/errors.ts';
import { parseReplica } from '../../core/ids.ts';
import { rollbackStart } from '../../core/phases.ts';
import { MigrationClient } from '../../client/migration-client.ts';
import type { StartedMigration } from '../../client/migrations.ts';
import type { BindingRecord, MigrationState } from '../../schemas/binding-record.ts';
import type { Accepted } from '../../workflows/messages.ts';
import { localControl, localRecord } from '../machine-record.ts';
import { print, type OutputFormat } from '../output.ts';
import { withTemporal, type TemporalOptions } from '../temporal-options.ts';

interface FromRecordOptions extends TemporalOptions {
  readonly output: OutputFormat;
  readonly stateDir: string;
  readonly reason?: string;
}

export async function resumeFromRecord(text: string, options: FromRecordOptions): Promise<void> {
  const migration = await ownerOf(text, { action: 'resume', stateDir: options.stateDir });
  const started = await withTemporal(options, (given) =>
    new MigrationClient(given).start(migration.input),
  );
  const paused = await isPaused(text, options.stateDir);
  print(options.output, { t: 'adopted', ...started, paused }, () =>
    [adoptedText(migration, started), ...(paused ? [pausedText(text)] : [])].join('\n'),
  );
}

/**
 * The run decides to go back before anything else, so that no step forward comes in between. One
 * that runs already is asked as by `rollback`.
 */
export async function rollbackFromRecord(text: string, options: FromRecordOptions): Promise<void> {
  const migration = await ownerOf(text, { action: 'roll back', stateDir: options.stateDir });
  requireWayBack(text, migration);
  const { reason = 'operator' } = options;
  const replica = parseReplica(text);
  const started = await withTemporal(options, async (given) => {
    const client = new MigrationClient(given);
    const found = await client.start(migration.input, { rollback: reason });
    if (!found.fresh && migration.rollback === null) await client.rollback(replica, reason);
    return found;
  });
  const paused = await isPaused(text, options.stateDir);
  const says = migration.rollback === null ? 'it goes back' : 'it was going back already';
  print(options.output, { t: 'adopted', ...started, paused }, () =>
    [`${adoptedText(migration, started)}: ${says}`, ...(paused ? [pausedText(text)] : [])].join(
      '\n',
    ),
  );
}

/** What an answer adds of a migration that stands paused, whatever was wished of it. */
export function pausedText(replica: string): string {
  return `it stands paused: "quorumshift resume ${replica}" lets it go on`;
}

/** Of an answer to `rollback`. */
export function rollbackText(
  replica: string,
  { paused, goes }: Accepted & { readonly goes: 'back' | 'forward again' },
): string {
  return paused === true
    ? `accepted: it goes ${goes}, but takes no step of that while ${pausedText(replica)}`
    : 'accepted';
}

function adoptedText({ id, phase }: MigrationState, { fresh }: StartedMigration): string {
  return fresh ? `adopted migration ${id} in phase ${phase}` : `migration ${id} is running already`;
}

/** @throws `migration.illegal-action` once it is final */
function requireWayBack(replica: string, migration: MigrationState): void {
  const { phase, rollback } = migration;
  if (rollback !== null || rollbackStart(migration) !== null) return;
  throw fail('migration.illegal-action', {
    action: 'roll back',
    replica,
    required: 'it must not be final',
    actual: `it is in phase ${phase}`,
  });
}

async function isPaused(text: string, stateDir: string): Promise<boolean> {
  return (await localControl(parseReplica(text), stateDir)).paused;
}

async function ownerOf(
  text: string,
  { action, stateDir }: { action: string; stateDir: string },
): Promise<NonNullable<BindingRecord['migration']>> {
  const { migration } = await localRecord(parseReplica(text), stateDir);
  if (migration !== null) return migration;
  throw fail('migration.illegal-action', {
    action,
    replica: text,
    required: 'a migration must own it',
    actual: 'its record names none',
  });
}
