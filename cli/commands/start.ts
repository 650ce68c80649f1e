/** `quorumshift start`: begins a migration, or finds the one with the same id. */
import { randomUUID } from 'node:crypto';

import { Option, type Command } from 'commander';

import { fail } from '../../core/errors.ts';
import { contractVersion, parseReplica } from '../../core/ids.ts';
import { migrationInputSchema, type MigrationInput } from '../../schemas/migration.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import {
  addSideOptions,
  instanceUris,
  sideOptions,
  type SideOptions,
} from '../instance-options.ts';
import { identity } from '../identity.ts';
import { outputOption, parseBytes, parseCount, print, type OutputFormat } from '../output.ts';
import { addTemporalOptions, withClient, type TemporalOptions } from '../temporal-options.ts';

export interface StartOptions extends TemporalOptions, SideOptions {
  readonly source?: string;
  readonly target?: string;
  readonly host: string;
  readonly id?: string;
  readonly approval: string;
  readonly soak: number;
  readonly finalize: string;
  readonly mode?: 'live' | 'stopped';
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
  return addTemporalOptions(sided)
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
      '\nExample:\n  quorumshift start kv/n1 --host m1 --source local:///data/a --target rocksdb:///data/b',
    );
  addStartOptions(command).action(start);
}

async function start(replica: string, options: StartOptions): Promise<void> {
  const input = migrationInput(replica, options);
  const started = await withClient(options, (client) => client.start(input));
  print(options.output, { t: 'started', ...started }, () =>
    [
      `${started.fresh ? 'started' : 'already started'}: migration ${started.migrationId} of ${replica}`,
      `watch it: quorumshift status -w ${replica}`,
    ].join('\n'),
  );
}

/** @throws `usage.invalid`, `uri.*` */
export function migrationInput(replicaArgument: string, options: StartOptions): MigrationInput {
  const families = defaultFamilies();
  const replica = parseReplica(replicaArgument);
  const side = (name: 'source' | 'target') =>
    instanceUris(families, options[name], {
      side: name,
      ...(options.group !== undefined && { group: options.group }),
      ...sideOptions(options, name),
    });
  const parsed = migrationInputSchema.safeParse({
    contractVersion,
    migrationId: options.id ?? `m-${randomUUID().slice(0, 8)}`,
    replica,
    host: options.host,
    source: side('source'),
    target: side('target'),
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
    mode: options.mode ?? null,
    standalone: options.standalone === true ? { by: identity(), note: options.note ?? '' } : null,
    requestedBy: identity(),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const reason = `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is wrong'}`;
  throw fail('usage.invalid', { reason });
}
