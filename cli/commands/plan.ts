/** `quorumshift plan`: what a start would do, with every check measured; changes nothing. */
import type { Command } from 'commander';
import pc from 'picocolors';

import type { PlanAnswer } from '../../workflows/plan-replica.ts';
import { exitCodes } from '../../core/error-registry.ts';
import { phases } from '../../core/phases.ts';
import { bytesText, print } from '../output.ts';
import { planEstimateText } from '../plan-text.ts';
import { withMigrations } from '../connection.ts';
import { addStartOptions, migrationInput, type StartOptions } from './start.ts';

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
  const input = await migrationInput(replica, options);
  const answer = await withMigrations(options, (client) => client.plan(input));
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
  return [
    ...checks,
    '',
    ...steps,
    '',
    `${answer.entries} entries, ${bytesText(answer.bytes)}; ${timeText(answer)}`,
    'a rollback is possible until finalize',
  ].join('\n');
}

function timeText({ mode, bytes }: PlanAnswer): string {
  if (mode === 'binary') return 'which stay; it is stopped while its program is replaced';
  const time = planEstimateText(bytes);
  return `about ${time} ${mode === 'live' ? 'beside the running replica' : 'with the replica stopped'}`;
}
