/** The input of a replica's migration, from what the API was given and who gave it. */
import { contractVersion } from '../core/ids.ts';
import { QuorumshiftError } from '../core/errors.ts';
import type { StartMigration } from '../schemas/http/migration.ts';
import { migrationInputSchema, type MigrationInput } from '../schemas/migration.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { fieldProblems, UnfitFields } from './problems.ts';

/** Letters of an id that is made from the operation's. */
const idLetters = 12;

/** @throws {@link UnfitFields}, also with a `uri.*` code */
export function migrationInput(
  given: StartMigration,
  as: { readonly operationId: string; readonly by: string },
): MigrationInput {
  const { reason: _reason, standalone, migrationId, ...rest } = given;
  const parsed = migrationInputSchema.safeParse({
    ...rest,
    contractVersion,
    // The same for the same call, so that one that is repeated finds the migration that it started.
    migrationId: migrationId ?? `m-${as.operationId.replaceAll('-', '').slice(0, idLetters)}`,
    source: instanceUris(given.source, '/source'),
    target: instanceUris(given.target, '/target'),
    standalone: standalone === null ? null : { by: as.by, note: standalone.note },
    requestedBy: as.by,
  });
  if (parsed.success) return parsed.data;
  throw new UnfitFields(fieldProblems(parsed.error.issues, 'body'));
}

function instanceUris(given: StartMigration['source'], pointer: string): InstanceUris {
  const families = defaultFamilies();
  try {
    if (typeof given === 'string') return families.expand(given);
    families.familyOf(given);
    return given;
  } catch (error) {
    if (!(error instanceof QuorumshiftError)) throw error;
    throw new UnfitFields([{ in: 'body', pointer, detail: error.message }], error);
  }
}
