/** The command line. Heavy packages are imported by the command that needs them. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

import { Command, CommanderError } from 'commander';

import { exitCodes } from '../core/error-registry.ts';
import { fail } from '../core/errors.ts';
import { printError, type OutputFormat } from './output.ts';

async function buildProgram(): Promise<Command> {
  const program = new Command('quorumshift')
    .description("moves a Raft node's durable state from one storage family to another")
    .version(packageVersion())
    .exitOverride()
    // Printed below, as every other error is.
    .configureOutput({ outputError: () => {} })
    .configureHelp({ sortSubcommands: false });
  // Bulk work begins sooner without the others.
  const { addTransfers } = await import('./commands/transfer.ts');
  if (['export', 'import', 'verify'].includes(process.argv[2] ?? '')) {
    addTransfers(program);
    return program;
  }
  const [{ addInspect }, { addDiscard }] = await Promise.all([
    import('./commands/inspect.ts'),
    import('./commands/discard.ts'),
  ]);
  const offline = ['inspect', 'discard'].includes(process.argv[2] ?? '');
  addInspect(program);
  addTransfers(program);
  addDiscard(program);
  if (!offline) {
    const [
      { addStart },
      { addPlan },
      { addOperations },
      { addProcesses },
      { addHost },
      { addReplica },
      { addApi },
      { addCluster },
      { addFleet },
      { addSchedule },
      { addJournal },
    ] = await Promise.all([
      import('./commands/start.ts'),
      import('./commands/plan.ts'),
      import('./commands/operate.ts'),
      import('./commands/processes.ts'),
      import('./commands/host.ts'),
      import('./commands/replica.ts'),
      import('./commands/api.ts'),
      import('./commands/cluster.ts'),
      import('./commands/fleet.ts'),
      import('./commands/schedule.ts'),
      import('./commands/journal.ts'),
    ]);
    addPlan(program);
    addStart(program);
    addOperations(program);
    addJournal(program);
    addProcesses(program);
    addHost(program);
    addReplica(program);
    addApi(program);
    const [{ addInventory }, { addTokens }, { addAudit }, { addDoctor }] = await Promise.all([
      import('./commands/inventory.ts'),
      import('./commands/token.ts'),
      import('./commands/audit.ts'),
      import('./commands/doctor.ts'),
    ]);
    addInventory(program);
    addTokens(program);
    addAudit(program);
    addDoctor(program);
    addCluster(program);
    addFleet(program);
    addSchedule(program);
  }
  return program;
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
