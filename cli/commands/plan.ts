/** `quorumshift plan`: what a start would do, with every check measured; changes nothing. */
import type { Command } from 'commander';
import pc from 'picocolors';

import type { PlanAnswer } from '../../workflows/plan-replica.ts';
import { exitCodes } from '../../core/error-registry.ts';
import { phases } from '../../core/phases.ts';
import { bytesText, durationText, print } from '../output.ts';
import { withClient } from '../temporal-options.ts';
import { addStartOptions, migrationInput, type StartOptions } from './start.ts';

/**
 * Between a copy, a validation of both and one more digest: bytes read or written per byte of
 * state.
 */
const passes = 5;

/** A cautious rate of one pass on one busy core; docs/benchmarks.md has what was measured. */
const assumedBytesPerSecond = 150 * 1024 * 1024;

export function addPlan(program: Command): void {
  const command = program
    .command('plan')
    .description('what a start would do, with every check measured; changes nothing')
    .addHelpText(
      'after',
      '\nExample:\n  quorumshift plan kv/n1 --host m1 --source local:///data/a --target rocksdb:///data/b',
    );
  addStartOptions(command).action(plan);
}

async function plan(replica: string, options: StartOptions): Promise<void> {
  const input = migrationInput(replica, options);
  const answer = await withClient(options, (client) => client.plan(input));
  print(options.output, { t: 'plan', ...answer }, () => planText(answer));
  if (answer.findings.some((finding) => !finding.ok)) process.exitCode = exitCodes.refused;
}

function planText(answer: PlanAnswer): string {
  const checks = answer.findings.map(
    ({ ok, check, measured, limit, remedy }) =>
      `${ok ? pc.green('ok     ') : pc.red('refused')} ${check}: ${measured} (needs: ${limit})` +
      (ok ? '' : `\n        what to do: ${remedy}`),
  );
  const steps = answer.steps.map(
    (phase, i) => `${String(i + 1).padStart(2)}. ${phases[phase].says}`,
  );
  const time = durationText((answer.bytes * passes * 1000) / assumedBytesPerSecond);
  return [
    ...checks,
    '',
    ...steps,
    '',
    `${answer.entries} entries, ${bytesText(answer.bytes)}; about ${time} ${answer.mode === 'live' ? 'beside the running replica' : 'with the replica stopped'}`,
    'a rollback is possible until finalize',
  ].join('\n');
}
