/** What the members' journals say of a rollout's migrations, whatever became of its workflow. */
import { readJournal, type JournalLine } from '../../storage/binding/journal.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import type { ClusterEnvironment } from './cluster-environment.ts';

/** Members by when a migration whose name begins so (`r1-s`, `r1-b2`) took their records last. */
export async function begun(of: ClusterEnvironment, migration: string): Promise<string[]> {
  return membersByTime(of, (line) => line['event'] === 'own' && isOf(migration, line['migration']));
}

/** Likewise, by when it ended. */
export async function ended(of: ClusterEnvironment, migration: string): Promise<string[]> {
  return membersByTime(of, (line) => isOf(migration, line['endedMigration']));
}

/** What the migrations of a member came to: `{ s1: 'rolled-back', s2: 'finalized' }`. */
export async function resultsOf(
  of: ClusterEnvironment,
  member: string,
  rolloutId: string,
): Promise<Record<string, unknown>> {
  const lines = (await journalOf(of, member)).filter((line) =>
    isOf(`${rolloutId}-`, line['endedMigration']),
  );
  return Object.fromEntries(
    lines.map((line) => [
      String(line['endedMigration']).slice(rolloutId.length + 1),
      line['result'],
    ]),
  );
}

/** By the last such line of each; one that has none is left out. */
async function membersByTime(
  of: ClusterEnvironment,
  isIt: (line: JournalLine) => boolean,
): Promise<string[]> {
  const times: { member: string; at: string }[] = [];
  for (const member of of.members) {
    const at = (await journalOf(of, member)).findLast(isIt)?.['at'];
    if (at !== undefined) times.push({ member, at: String(at) });
  }
  return times.toSorted((a, b) => (a.at < b.at ? -1 : 1)).map(({ member }) => member);
}

function journalOf(of: ClusterEnvironment, member: string): Promise<JournalLine[]> {
  return readJournal(nodeFileLayer, of.storeOf(member).directory.journal);
}

function isOf(migration: string, id: unknown): boolean {
  return typeof id === 'string' && id.startsWith(migration);
}
