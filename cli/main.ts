/** The command line. Heavy packages are imported by the command that needs them. */
import { constants } from 'node:os';

import { Command, CommanderError } from 'commander';

import { exitCodes } from '../core/errors.ts';
import { printError, type OutputFormat } from './output.ts';

async function buildProgram(): Promise<Command> {
  const program = new Command('quorumshift')
    .description("moves a Raft node's durable state from one storage family to another")
    .exitOverride()
    .configureHelp({ sortSubcommands: false });
  const [{ addInspect }, { addTransfers }] = await Promise.all([
    import('./commands/inspect.ts'),
    import('./commands/transfer.ts'),
  ]);
  const offline = ['inspect', 'export', 'import', 'verify'].includes(process.argv[2] ?? '');
  addInspect(program);
  addTransfers(program);
  if (!offline) {
    const [{ addStart }, { addPlan }, { addOperations }, { addProcesses }] = await Promise.all([
      import('./commands/start.ts'),
      import('./commands/plan.ts'),
      import('./commands/operate.ts'),
      import('./commands/processes.ts'),
    ]);
    addPlan(program);
    addStart(program);
    addOperations(program);
    addProcesses(program);
  }
  return program;
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
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  } else process.exitCode = printError(outputFormat(), error);
}
