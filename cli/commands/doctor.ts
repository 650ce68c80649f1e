/** `quorumshift doctor`: whether all that a rollout needs is there, and what to do if not. */
import type { Command } from 'commander';
import pc from 'picocolors';

import {
  HealthChecks,
  type ExpectedMachine,
  type HealthCheck,
} from '../../client/health-checks.ts';
import { readInventory } from '../../control/inventory-file.ts';
import { exitCodes } from '../../core/error-registry.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { outputOption, print, type OutputFormat } from '../output.ts';
import { addTemporalOptions, withTemporal, type TemporalOptions } from '../temporal-options.ts';

interface DoctorOptions extends TemporalOptions {
  readonly inventory?: string;
  readonly host?: string;
  readonly output: OutputFormat;
}

export function addDoctor(program: Command): void {
  addTemporalOptions(program.command('doctor'))
    .description('check server, namespace, search attributes, workers, and agents; changes nothing')
    .option('--inventory <file>', 'whose machines are asked')
    .option('--host <names>', 'these machines are asked: m1,m2')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `\nExit code ${exitCodes.needsOperator}: something is to be mended.\n\nExample:\n  quorumshift doctor --inventory inventory.yaml`,
    )
    .action((options: DoctorOptions) => doctor(program.version() ?? '', options));
}

async function doctor(version: string, options: DoctorOptions): Promise<void> {
  const machines = await machinesOf(options);
  const checks = await withTemporal(options, ({ client }) =>
    new HealthChecks({ client, version }).run(machines),
  );
  const ok = checks.every((check) => check.ok);
  print(options.output, { t: 'doctor', ok, checks }, () => checks.map(checkText).join('\n'));
  if (!ok) process.exitCode = exitCodes.needsOperator;
}

async function machinesOf({ inventory, host }: DoctorOptions): Promise<ExpectedMachine[]> {
  const named = (host?.split(',') ?? []).map((name) => ({ host: name, agentId: null }));
  if (inventory === undefined) return named;
  const { clusters } = await readInventory(defaultFamilies(), inventory);
  const declared = clusters.flatMap(({ members }) => members);
  const all = declared.map((member) => ({ host: member.host, agentId: member.agentId }));
  return [...new Map([...named, ...all].map((machine) => [machine.host, machine])).values()];
}

function checkText({ check, ok, measured, remedy }: HealthCheck): string {
  if (ok) return `${pc.green('ok     ')} ${check}: ${measured}`;
  return `${pc.red('problem')} ${check}: ${measured}\n        what to do: ${remedy}`;
}
