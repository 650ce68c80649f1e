/** The command line. Heavy packages are imported by the command that needs them. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

import { Command, CommanderError } from 'commander';

import { exitCodes } from '../core/error-registry.ts';
import { fail } from '../core/errors.ts';
import { printError, type OutputFormat } from './output.ts';

const operations =
  'status list pause resume approve throttle rollback complete abandon repair-record';

/** What adds commands to a program, in the order of the help, and the names of the commands. */
const groups: readonly (readonly [string, () => Promise<(program: Command) => void>])[] = [
  ['inspect', async () => (await import('./commands/inspect.ts')).addInspect],
  ['export import verify', async () => (await import('./commands/transfer.ts')).addTransfers],
  ['discard', async () => (await import('./commands/discard.ts')).addDiscard],
  ['plan', async () => (await import('./commands/plan.ts')).addPlan],
  ['start', async () => (await import('./commands/start.ts')).addStart],
  [operations, async () => (await import('./commands/operate.ts')).addOperations],
  ['journal', async () => (await import('./commands/journal.ts')).addJournal],
  ['dev agent control', async () => (await import('./commands/processes.ts')).addProcesses],
  ['host', async () => (await import('./commands/host.ts')).addHost],
  ['replica', async () => (await import('./commands/replica.ts')).addReplica],
  ['api', async () => (await import('./commands/api.ts')).addApi],
  ['inventory', async () => (await import('./commands/inventory.ts')).addInventory],
  ['token', async () => (await import('./commands/token.ts')).addTokens],
  ['audit', async () => (await import('./commands/audit.ts')).addAudit],
  ['doctor', async () => (await import('./commands/doctor.ts')).addDoctor],
  ['cluster', async () => (await import('./commands/cluster.ts')).addCluster],
  ['fleet', async () => (await import('./commands/fleet.ts')).addFleet],
  ['schedule', async () => (await import('./commands/schedule.ts')).addSchedule],
];

/** With the command that is asked for alone; with all where none of them is. */
async function buildProgram(): Promise<Command> {
  const program = new Command('quorumshift')
    .description("moves a Raft node's durable state from one storage family to another")
    .version(packageVersion())
    .exitOverride()
    // Printed below, as every other error is.
    .configureOutput({ outputError: () => {} })
    .configureHelp({ sortSubcommands: false });
  const asked = process.argv[2] ?? '';
  const meant = groups.filter(([names]) => names.split(' ').includes(asked));
  const wanted = meant.length > 0 || isAboutProgram(asked) ? meant : groups;
  for (const add of await Promise.all(wanted.map(([, load]) => load()))) add(program);
  return program;
}

function isAboutProgram(asked: string): boolean {
  return asked === '--version' || asked === '-V';
}

function packageVersion(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

/** For errors before options are parsed, and after. */
function outputFormat(): OutputFormat {
  const args = process.argv.join(' ');
  if (/(-o|--output)[ =]?jsonl/.test(args)) return 'jsonl';
  return /(-o|--output)[ =]?json/.test(args) ? 'json' : 'text';
}

// Whoever read our output has gone (`| head`): end as a process does that a broken pipe ends.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(128 + constants.signals.SIGPIPE);
});

try {
  await (await buildProgram()).parseAsync();
} catch (error) {
  // Workers that were made and never ran would keep the process, and swallow what would end it.
  process.exit(endOf(error));
}

/** The exit code; help that was asked for, or shown in place of a command, is no error to print. */
function endOf(error: unknown): number {
  if (!(error instanceof CommanderError)) return printError(outputFormat(), error);
  if (error.exitCode === 0) return exitCodes.ok;
  if (error.code === 'commander.help') return exitCodes.usage;
  const reason = error.message.replace(/^error: /, '');
  return printError(outputFormat(), fail('usage.invalid', { reason }));
}
