/** The digest that tells one migration's input from another's: same id, other input: a conflict. */
import { createHash } from 'node:crypto';

import { canonicalJson } from '../core/canonical-json.ts';
import type { MigrationInput } from './migration.ts';

/**
 * Hex SHA-256 of the input as JSON with sorted keys, without who asked, who answers for it, and by
 * which release.
 */
export function inputDigest(input: MigrationInput): string {
  const { requestedBy: _who, standalone: _whoAnswers, contractVersion: _release, ...meant } = input;
  return createHash('sha256').update(canonicalJson(meant)).digest('hex');
}
