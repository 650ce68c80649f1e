/** Preflight: that the replica, as its record says, is free for this migration. */
import type { BindingRecord } from '../schemas/binding-record.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import { requireNotNewer } from '../storage/binding/generation-stamp.ts';
import { sameUris } from '../storage/binding/parking.ts';
import { recordStore, type AgentContext } from './agent-context.ts';
import type { Addressee } from './contract.ts';
import type { Check } from './findings.ts';
import { requireFree } from './own.ts';

export interface PreflightRequest extends Addressee {
  readonly input: MigrationInput;
}

export async function checkRecord(
  context: AgentContext,
  request: PreflightRequest,
  check: Check,
): Promise<void> {
  const { files, families } = context;
  const { input } = request;
  await check('replica free', 'the source is its primary, nobody else names either', async () => {
    await requireFree(context, input);
    const record = await recordStore(context, request).read();
    return requireUnowned(record, input);
  });
  await check('record up to date', 'no instance is newer than the binding record', async () => {
    const record = await recordStore(context, request).read();
    const { replica, source, target } = input;
    await requireNotNewer({ files, families, replica, record, named: [source, target] });
    return `generation ${record?.generation ?? 0}`;
  });
}

function requireUnowned(record: BindingRecord | null, input: MigrationInput): string {
  if (record === null) return 'no record yet';
  const { migration, primary } = record;
  if (migration !== null && migration.id !== input.migrationId) {
    throw new Error(`migration ${migration.id} owns it, in phase ${migration.phase}`);
  }
  if (migration === null && !sameUris(primary.uris, input.source)) {
    throw new Error(`its primary is ${primary.uris.log}`);
  }
  return `generation ${record.generation}`;
}
