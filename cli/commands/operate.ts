/**
 * Watching and steering: `status`, `list`, `pause`, `resume`, `approve`, `throttle`, `rollback`, …
 */
import { createInterface } from 'node:readline/promises';

import { Option, type Command } from 'commander';

import { fail } from '../../core/errors.ts';
import { parseReplica, replicaText, type ReplicaName } from '../../core/ids.ts';
import type { MigrationReport, Migrations } from '../../client/migrations.ts';
import type { Accepted } from '../../workflows/messages.ts';
import { localRecord, lookAtMachine, storeOf } from '../machine-record.ts';
import {
  hostSocketOption,
  outputOption,
  parseBytes,
  parseListLimit,
  print,
  stateDirOption,
  toJson,
  type OutputFormat,
} from '../output.ts';
import { identity } from '../identity.ts';
import { resumeFromRecord, rollbackFromRecord, rollbackText } from './from-record.ts';
import { printRuns } from '../run-list.ts';
import { recordText, reportText, type MergedReport } from '../status-text.ts';
import { addConnectionOptions, withMigrations, type ConnectionOptions } from '../connection.ts';

interface OperateOptions extends ConnectionOptions {
  readonly output: OutputFormat;
  /** The storage host's admin socket. */
  readonly socket: string;
  readonly reason?: string;
  readonly proof?: string;
  readonly yes?: boolean;
  readonly fromRecord?: boolean;
  readonly cancel?: boolean;
  readonly stateDir: string;
  readonly limit: number;
  readonly watch?: boolean;
  readonly local?: boolean;
  readonly machineLost?: string;
}

/** A status that is watched is asked for again after this. */
const watchIntervalMs = 1_000;

export function addOperations(program: Command): void {
  const command = (name: string, description: string, example = '') =>
    addConnectionOptions(program.command(name).description(description))
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift ${`${name} ${example}`.trim()}`);
  const onReplica = (name: string, description: string, rest = '') =>
    command(name, description, `kv/n1 ${rest}`).argument('<replica>', '<cluster>/<member>');

  onReplica('status', 'where a migration stands, why it waits, what is safe to do', '--watch')
    .option('-w, --watch', 'until it ends')
    .option('--local', 'from the record on this machine, without Temporal')
    .addOption(hostSocketOption())
    .addOption(stateDirOption())
    .action(status);
  command('list', 'migrations, newest first', '--limit 10')
    .option('--limit <n>', 'at most so many', parseListLimit, 50)
    .action(list);
  onReplica('pause', 'stop before the next step; bulk work stands still').action(
    steer((client, replica) => client.pause(replica)),
  );
  onReplica('resume', 'end a pause, or retry what waits for you')
    .option('--from-record', 'start a new workflow that adopts the record on this machine')
    .addOption(stateDirOption())
    .action(resume);
  onReplica('approve', 'approve the cutover on the proof that status shows', '--proof <digest>')
    .requiredOption('--proof <digest>', 'digest of the proof')
    .action(approve);
  onReplica('throttle', 'limit bulk work', '50MiB')
    .argument('<bytes>', 'bytes per second, such as 50MiB; "none" removes the limit', parseLimit)
    .action(throttle);
  onReplica('rollback', 'go back to the source; loses nothing', '--reason "too slow"')
    .option('--reason <text>', 'goes into the audit trail', 'operator')
    .option('--from-record', 'of a migration whose workflow is gone: adopt it, straight to go back')
    .addOption(
      new Option(
        '--cancel',
        'give up a rollback that copies back what the replica wrote: it stays on the target',
      ).conflicts('fromRecord'),
    )
    .addOption(stateDirOption())
    .action(rollback);
  onReplica('complete', 'finalize: retire the source; rollback is refused from then on')
    .option('--yes', 'do not ask for the name')
    .action(complete);
  onReplica('abandon', 'end the workflow; leave the machine as it is, to be adopted later')
    .option('--machine-lost <name>', 'the machine will not come back')
    .option('--reason <text>', 'goes into the audit trail')
    .action(steer((client, replica, options) => client.abandon(replica, abandonReason(options))));
  program
    .command('repair-record')
    .description('restore a damaged binding record on this machine from its copy')
    .argument('<replica>', '<cluster>/<member>')
    .addOption(stateDirOption())
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift repair-record kv/n1')
    .action(repair);
}

async function repair(text: string, options: OperateOptions): Promise<void> {
  const store = storeOf(parseReplica(text), options.stateDir);
  const found = await store.repair(identity());
  print(options.output, { t: found }, () =>
    found === 'sound'
      ? `the record of ${text} can be read: nothing to repair`
      : `restored the record of ${text}; see: quorumshift status --local ${text}`,
  );
}

function abandonReason({ machineLost, reason }: OperateOptions): string {
  return machineLost === undefined ? (reason ?? 'operator') : `machine lost: ${machineLost}`;
}

type Steering = (
  client: Migrations,
  replica: ReplicaName,
  options: OperateOptions,
) => Promise<Accepted>;

function steer(call: Steering) {
  return async (text: string, options: OperateOptions): Promise<void> => {
    const replica = parseReplica(text);
    const accepted = await withMigrations(options, (client) => call(client, replica, options));
    print(options.output, { t: 'accepted', ...accepted }, () => 'accepted');
  };
}

async function status(text: string, options: OperateOptions): Promise<void> {
  const replica = parseReplica(text);
  if (options.local === true) {
    const record = await localRecord(replica, options.stateDir);
    const { served } = await lookAtMachine(replica, options);
    print(options.output, { ...record, served }, () => recordText(record, served));
    return;
  }
  await withMigrations(options, async (client) => {
    if (options.watch !== true) {
      const report = await merged(await client.status(replica), options);
      print(options.output, report, () => reportText(report));
      return;
    }
    let shown = '';
    for await (const report of client.watch(replica, { intervalMs: watchIntervalMs })) {
      const seen = await merged(report, options);
      shown = showChange(options.output, { report: seen, toText: reportText, before: shown });
    }
  });
}

/** With the machine's own record, where it lies on this machine. */
async function merged(report: MigrationReport, options: OperateOptions): Promise<MergedReport> {
  return { ...report, machine: await lookAtMachine(report.replica, options) };
}

/** On a terminal the status is redrawn in place; elsewhere it is printed when it changed. */
export function showChange<Report>(
  format: OutputFormat,
  {
    report,
    toText,
    before,
  }: { report: Report; toText: (report: Report) => string; before: string },
): string {
  const text = format === 'text' ? toText(report) : toJson(report);
  if (text === before) return before;
  const redraw = process.stdout.isTTY && format === 'text';
  process.stdout.write(redraw ? `\u001b[2J\u001b[H${text}\n` : `${text}\n`);
  return text;
}

async function list(options: OperateOptions): Promise<void> {
  const found = await withMigrations(options, (client) => client.list({ limit: options.limit }));
  printRuns(options.output, found, {
    what: 'migrations',
    names: ({ replica, migrationId }) => [replicaText(replica), migrationId],
  });
}

async function resume(text: string, options: OperateOptions): Promise<void> {
  if (options.fromRecord === true) return resumeFromRecord(text, options);
  return steer((client, replica) => client.resume(replica))(text, options);
}

async function rollback(text: string, options: OperateOptions): Promise<void> {
  if (options.fromRecord === true) return rollbackFromRecord(text, options);
  const { reason = 'operator' } = options;
  const replica = parseReplica(text);
  const cancel = options.cancel === true;
  const accepted = await withMigrations(options, (client) =>
    cancel ? client.cancelRollback(replica, reason) : client.rollback(replica, reason),
  );
  print(options.output, { t: 'accepted', ...accepted }, () =>
    rollbackText(text, { ...accepted, goes: cancel ? 'forward again' : 'back' }),
  );
}

async function approve(text: string, options: OperateOptions): Promise<void> {
  const replica = parseReplica(text);
  const digest = options.proof ?? '';
  await withMigrations(options, async (client) => {
    const { status: known } = await client.status(replica);
    const generation = known?.view?.proof?.generation ?? 0;
    await client.approve(replica, { digest, generation });
  });
  print(options.output, { t: 'accepted', proof: digest }, () => `approved proof ${digest}`);
}

/** @throws `usage.invalid` for 0: to stop altogether is to pause */
export function parseLimit(text: string): number | null {
  if (text === 'none') return null;
  const bytesPerSecond = parseBytes(text);
  if (bytesPerSecond >= 1) return bytesPerSecond;
  throw fail('usage.invalid', { reason: 'a limit is 1 byte a second or more; else use "pause"' });
}

async function throttle(
  text: string,
  bytesPerSecond: number | null,
  options: OperateOptions,
): Promise<void> {
  await steer((client, replica) => client.throttle(replica, bytesPerSecond))(text, options);
}

async function complete(text: string, options: OperateOptions): Promise<void> {
  if (options.yes !== true) await confirmName(text);
  await steer((client, replica) => client.complete(replica))(text, options);
}

/** Finalize ends every way back: the name is typed, not a key pressed. @throws `usage.invalid` */
export async function confirmName(name: string): Promise<void> {
  if (!process.stdin.isTTY) {
    throw fail('usage.invalid', { reason: 'complete asks for the name on a terminal; give --yes' });
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const typed = await prompt
    .question(`Finalize ends rollback. Type the name (${name}): `)
    .catch((cause: unknown) => {
      if (!(cause instanceof Error) || cause.name !== 'AbortError') throw cause;
      // By Ctrl-C or Ctrl-D; the prompt's line is not ended then.
      process.stderr.write('\n');
      const reason = 'no name was typed, nothing is finalized';
      throw fail('usage.invalid', { reason }, { cause });
    });
  prompt.close();
  if (typed.trim() !== name) throw fail('usage.invalid', { reason: `"${typed}" is not ${name}` });
}
