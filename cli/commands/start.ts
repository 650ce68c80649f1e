/** `quorumshift start`: begins a migration, or finds the one with the same id. */
import { randomUUID } from 'node:crypto';

import { Option, type Command } from 'commander';

import { fail } from '../../core/errors.ts';
import { contractVersion, parseReplica, replicaText, type ReplicaName } from '../../core/ids.ts';
import { migrationInputSchema, type MigrationInput } from '../../schemas/migration.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import {
  addSideOptions,
  instanceUris,
  sideOptions,
  type SideOptions,
} from '../instance-options.ts';
import { identity } from '../identity.ts';
import { storeOf } from '../machine-record.ts';
import {
  outputOption,
  parseBytes,
  parseCount,
  print,
  stateDirOption,
  type OutputFormat,
} from '../output.ts';
import { addConnectionOptions, withMigrations, type ConnectionOptions } from '../connection.ts';

export interface StartOptions extends ConnectionOptions, SideOptions {
  readonly source?: string;
  readonly target?: string;
  readonly host: string;
  readonly id?: string;
  readonly approval: string;
  readonly soak: number;
  readonly finalize: string;
  readonly mode?: 'live' | 'stopped';
  readonly binary?: boolean;
  readonly stateDir: string;
  readonly probeEvery: number;
  readonly probeFailures: number;
  readonly appendP99?: number;
  readonly proofMaxAge?: number;
  readonly validateEvery: number;
  readonly deleteSource?: boolean;
  readonly throttle?: number;
  readonly standalone?: boolean;
  readonly note?: string;
  readonly group?: string;
  readonly output: OutputFormat;
}

export function addStartOptions(command: Command): Command {
  const sided = addSideOptions(addSideOptions(command, 'source'), 'target');
  return addConnectionOptions(sided)
    .argument('<replica>', '<cluster>/<member>')
    .option('--source <uri>', 'short URI of what it is on, such as local:///data/a')
    .option('--target <uri>', 'short URI of where it goes, such as rocksdb:///data/b')
    .requiredOption('--host <name>', 'its machine, as its agent is configured')
    .option('--id <id>', 'id of the migration: starting twice with one id is one migration')
    .addOption(
      new Option('--approval <kind>', 'whether the cutover waits for approval')
        .choices(['none', 'manual'])
        .default('none'),
    )
    .option('--soak <seconds>', 'run on the target for so long before finalize', parseCount, 0)
    .addOption(
      new Option('--finalize <kind>', 'whether finalize waits for an operator')
        .choices(['manual', 'auto'])
        .default('manual'),
    )
    .addOption(
      new Option(
        '--mode <mode>',
        'how it is moved; by default live where a storage host serves it',
      ).choices(['live', 'stopped']),
    )
    .option('--binary', 'replace its program by the hook "replace"; its storage stays')
    .addOption(stateDirOption())
    .option(
      '--probe-every <seconds>',
      'run the probe so often in the soak; 0 is never',
      parseCount,
      60,
    )
    .option(
      '--validate-every <seconds>',
      'live: compare both so often in the soak; 0 is never',
      parseCount,
      3600,
    )
    .option(
      '--proof-max-age <seconds>',
      'live: prove again before a cutover on an older proof',
      parseCount,
    )
    .option('--append-p99 <ms>', 'live: a p99 of appends above this is a failed probe', parseCount)
    .option(
      '--probe-failures <count>',
      'roll back after so many failed probes in a row; 0 is never',
      parseCount,
      3,
    )
    .option('--delete-source', 'delete the source at finalize, instead of moving it aside')
    .option('--throttle <bytes>', 'limit of bulk work in bytes per second', parseBytes)
    .option('--standalone', 'you answer for the group: do not wait for its lease')
    .option('--note <text>', 'why --standalone is right; goes into the audit trail')
    .option('--group <id>', 'group id, where a store is shared (braft: <group>_<idx>)')
    .addOption(outputOption());
}

export function addStart(program: Command): void {
  const command = program
    .command('start')
    .description('migrate a replica: live where a storage host serves it, else stopped')
    .addHelpText(
      'after',
      '\nExamples:\n  quorumshift start kv/n1 --host m1 --source local:///data/a --target rocksdb:///data/b\n  quorumshift start kv/n1 --host m1 --binary',
    );
  addStartOptions(command).action(start);
}

async function start(replica: string, options: StartOptions): Promise<void> {
  const input = await migrationInput(replica, options);
  const started = await withMigrations(options, (client) => client.start(input));
  print(options.output, { t: 'started', ...started }, () =>
    [
      `${started.fresh ? 'started' : 'already started'}: migration ${started.migrationId} of ${replica}`,
      `watch it: quorumshift status -w ${replica}`,
    ].join('\n'),
  );
}

/** @throws `usage.invalid`, `uri.*`, `record.corrupt` */
export async function migrationInput(
  replicaArgument: string,
  options: StartOptions,
): Promise<MigrationInput> {
  const replica = parseReplica(replicaArgument);
  const parsed = migrationInputSchema.safeParse({
    contractVersion,
    migrationId: options.id ?? `m-${randomUUID().slice(0, 8)}`,
    replica,
    host: options.host,
    ...(await sidesOf(replica, options)),
    policy: {
      approval: options.approval,
      soakSeconds: options.soak,
      finalize: options.finalize,
      probeEverySeconds: options.probeEvery === 0 ? null : options.probeEvery,
      probeFailures: options.probeFailures === 0 ? null : options.probeFailures,
      appendP99Ms: options.appendP99 ?? null,
      proofMaxAgeSeconds: options.proofMaxAge ?? null,
      validateEverySeconds: options.validateEvery === 0 ? null : options.validateEvery,
      deleteSource: options.deleteSource ?? false,
      bytesPerSecond: options.throttle ?? null,
    },
    mode: options.binary === true ? 'binary' : (options.mode ?? null),
    standalone: options.standalone === true ? { by: identity(), note: options.note ?? '' } : null,
    requestedBy: identity(),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const reason = `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is wrong'}`;
  throw fail('usage.invalid', { reason });
}

interface Sides {
  readonly source: InstanceUris;
  readonly target: InstanceUris;
}

async function sidesOf(replica: ReplicaName, options: StartOptions): Promise<Sides> {
  if (options.binary !== true) {
    return { source: sideOf(options, 'source'), target: sideOf(options, 'target') };
  }
  if (options.target !== undefined || Object.keys(sideOptions(options, 'target')).length > 0) {
    throw fail('usage.invalid', { reason: '--binary moves no storage: it takes no target' });
  }
  if (options.mode !== undefined) {
    throw fail('usage.invalid', { reason: '--binary takes no --mode' });
  }
  const isGiven =
    options.source !== undefined || Object.keys(sideOptions(options, 'source')).length > 0;
  const source = isGiven ? sideOf(options, 'source') : await recordedPrimary(replica, options);
  return { source, target: source };
}

function sideOf(options: StartOptions, side: 'source' | 'target'): InstanceUris {
  return instanceUris(defaultFamilies(), options[side], {
    side,
    ...(options.group !== undefined && { group: options.group }),
    ...sideOptions(options, side),
  });
}

/** Where the record of this machine says that the replica is. */
async function recordedPrimary(
  replica: ReplicaName,
  { stateDir }: StartOptions,
): Promise<InstanceUris> {
  const store = storeOf(replica, stateDir);
  const record = await store.read();
  if (record !== null) return record.primary.uris;
  const { record: path } = store.directory;
  throw fail('usage.invalid', {
    reason: `--source is needed: no record at ${path} says what ${replicaText(replica)} is on`,
  });
}
