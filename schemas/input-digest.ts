/** The digest that tells one migration's input from another's: same id, other input: a conflict. */
import { createHash } from 'node:crypto';

import { migrationInputText } from '../core/migration-input-text.ts';
import type { MigrationInput } from './migration.ts';

/** Hex SHA-256 of what the input means. */
export function inputDigest(input: MigrationInput): string {
  return createHash('sha256').update(migrationInputText(input)).digest('hex');
}
