/** `quorumshift inventory validate|show|diff|put`: what a rollout would follow. */
import type { Command } from 'commander';
import pc from 'picocolors';

import {
  contradicts,
  inventoryDifferences,
  type InventoryDifference,
} from '../../client/inventory-difference.ts';
import type { HttpControlPlane } from '../../client/http/http-control-plane.ts';
import { MachineClient } from '../../client/machine-client.ts';
import {
  checkInventory,
  readChecked,
  readInventory,
  readPolicy,
  problemText,
  type DeclaredInventory,
} from '../../control/inventory-file.ts';
import { clusterRollouts, selectClusters } from '../../control/rollout-input.ts';
import { readText } from '../../control/yaml-file.ts';
import { exitCodes } from '../../core/error-registry.ts';
import { fail, messageOf } from '../../core/errors.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { addSelection, selectionOf, type SelectionOptions } from '../cluster-selection.ts';
import {
  addApiOption,
  addConnectionOptions,
  byApi,
  type ConnectionOptions,
} from '../connection.ts';
import { outputOption, print, type OutputFormat } from '../output.ts';
import { withTemporal } from '../temporal-options.ts';
import { textTable } from '../text-table.ts';

interface SelectOptions extends SelectionOptions {
  readonly output: OutputFormat;
}

export function addInventory(program: Command): void {
  const inventory = program
    .command('inventory')
    .description('clusters, members and machines, as a file declares them')
    .addHelpText('after', '\nExample:\n  quorumshift inventory validate inventory.yaml');
  inventory
    .command('validate')
    .description('check an inventory, and a policy with it; starts nothing')
    .argument('<file>', 'YAML, or JSON')
    .option('--policy <file>', "a rollout's policy: its targets are made for every member")
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  quorumshift inventory validate inventory.yaml --policy policy.yaml',
    )
    .action(validate);
  addSelection(inventory.command('show'))
    .description('its members, machines and storage')
    .argument('<file>', 'YAML, or JSON')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  quorumshift inventory show inventory.yaml --label env=prod',
    )
    .action(show);
  addConnectionOptions(addSelection(inventory.command('diff')))
    .description("what it declares, against what the machines' agents report; changes nothing")
    .argument('[file]', 'YAML, or JSON; through an API none: its present inventory is meant')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `\nExit code ${exitCodes.notEquivalent}: they contradict each other; ${exitCodes.unreachable}: they do not, but some machine did not answer.\n\nExample:\n  quorumshift inventory diff inventory.yaml`,
    )
    .action(diff);
  addApiOption(inventory.command('put'))
    .description("make it the API's present one, which rollouts through it follow")
    .argument('<file>', 'YAML, or JSON')
    .option('--dry-run', 'only say what would differ')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift inventory put inventory.yaml --dry-run')
    .action(put);
}

async function put(
  file: string,
  options: ConnectionOptions & { readonly dryRun?: boolean; readonly output: OutputFormat },
): Promise<void> {
  const plane = byApi(options);
  if (plane === null) {
    const reason = 'only an API has an inventory of its own: give --api, or set QUORUMSHIFT_API';
    throw fail('usage.invalid', { reason });
  }
  const { dryRun = false } = options;
  const { given } = await readChecked(defaultFamilies(), file);
  const answer = await plane.putInventory(given, { dryRun });
  print(options.output, { t: 'inventory-put', file, ...answer }, () => {
    const { revision, difference } = answer;
    const changes = Object.entries(difference).flatMap(([how, clusters]) =>
      clusters.length === 0 ? [] : [`${how.padEnd(8)} ${clusters.join(', ')}`],
    );
    const head =
      revision === null
        ? 'nothing is changed; it would be'
        : `${pc.green('ok')}  revision ${revision.revision} is the present inventory`;
    return [head, ...(changes.length === 0 ? ['as the one before'] : changes)].join('\n');
  });
}

async function validate(
  file: string,
  options: { readonly policy?: string; readonly output: OutputFormat },
): Promise<void> {
  const families = defaultFamilies();
  const text = await readText(file).catch((cause: unknown) => {
    const reason = messageOf(cause);
    throw fail('inventory.invalid', { file, problems: `it cannot be read: ${reason}` }, { cause });
  });
  const checked = checkInventory(families, text);
  if (!checked.ok) {
    const { problems } = checked;
    print(options.output, { t: 'validation', file, ok: false, problems }, () =>
      problems.map((problem) => `${pc.red('wrong')}  ${problemText(problem)}`).join('\n'),
    );
    process.exitCode = exitCodes.usage;
    return;
  }
  const { inventory } = checked;
  if (options.policy !== undefined) {
    const policy = await readPolicy(families, options.policy);
    const name = { rolloutId: 'validate', requestedBy: 'validate' };
    clusterRollouts(families, { inventory, policy, name });
  }
  const counts = countsOf(inventory);
  print(options.output, { t: 'validation', file, ok: true, problems: [], ...counts }, () => {
    const { clusters, members, machines } = counts;
    const found = `${clusters} clusters, ${members} members, ${machines} machines`;
    return `${pc.green('ok')}  ${file}: ${found}`;
  });
}

function countsOf({ clusters }: DeclaredInventory) {
  const members = clusters.flatMap((cluster) => cluster.members);
  return {
    clusters: clusters.length,
    members: members.length,
    machines: new Set(members.map(({ host }) => host)).size,
  };
}

async function readSelected(file: string, options: SelectOptions): Promise<DeclaredInventory> {
  const inventory = await readInventory(defaultFamilies(), file);
  return selectClusters(inventory, selectionOf(options));
}

async function show(file: string, options: SelectOptions): Promise<void> {
  const inventory = await readSelected(file, options);
  print(options.output, { t: 'inventory', ...inventory }, () => {
    const rows = inventory.clusters.flatMap(({ cluster, labels, members }) =>
      members.map(({ member, host, source }, i) => {
        const shown = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
        const { name: family } = defaultFamilies().familyOf(source);
        return [cluster, member, host, family, source.log, i === 0 ? shown.join(' ') : ''];
      }),
    );
    return textTable([['cluster', 'member', 'machine', 'family', 'log', 'labels'], ...rows]);
  });
}

async function diff(
  file: string | undefined,
  options: SelectOptions & ConnectionOptions,
): Promise<void> {
  const plane = byApi(options);
  if (plane !== null) return diffByApi(plane, file, options);
  if (file === undefined) throw fail('usage.invalid', { reason: 'name the inventory’s file' });
  const inventory = await readSelected(file, options);
  const members = inventory.clusters.flatMap((cluster) => cluster.members);
  const hosts = [...new Set(members.map(({ host }) => host))].toSorted();
  const asked = await withTemporal(options, ({ client }) =>
    new MachineClient(client).replicas(hosts),
  );
  const all = inventoryDifferences(defaultFamilies(), inventory, asked);
  // Of a part of the inventory, what else the machines have is no difference.
  const whole = options.label === undefined && options.clusters === undefined;
  const differences = whole ? all : all.filter(({ kind }) => kind !== 'undeclared');
  print(options.output, { t: 'inventory-diff', file, hosts, differences }, () =>
    differenceText(differences, `${members.length} members are as declared`),
  );
  if (differences.some(contradicts)) process.exitCode = exitCodes.notEquivalent;
  else if (asked.some(({ answer }) => answer === null)) process.exitCode = exitCodes.unreachable;
}

/** The API holds its own against the machines, which we may be unable to reach. */
async function diffByApi(
  plane: HttpControlPlane,
  file: string | undefined,
  options: SelectOptions,
): Promise<void> {
  const isPart = options.label !== undefined || options.clusters !== undefined;
  if (file !== undefined || isPart) {
    const reason =
      'an API compares its present inventory, all of it: give no file, --clusters or --label; "inventory put --dry-run <file>" says how a file differs from that';
    throw fail('usage.invalid', { reason });
  }
  const { revision, away, contradictions, differences } = await plane.compareInventory();
  print(options.output, { t: 'inventory-diff', revision, away, differences }, () =>
    differenceText(differences, `all members of revision ${revision} are as declared`),
  );
  if (contradictions > 0) process.exitCode = exitCodes.notEquivalent;
  else if (away.length > 0) process.exitCode = exitCodes.unreachable;
}

function differenceText(differences: readonly InventoryDifference[], none: string): string {
  if (differences.length === 0) return `${pc.green('ok')}  ${none}`;
  const rows = differences.map(({ kind, replica, host, declared, reported, note }) => [
    kind,
    replica,
    host,
    declared ?? '-',
    reported ?? '-',
    note,
  ]);
  const found = differences.filter(contradicts).length;
  const head = ['difference', 'replica', 'machine', 'declared', 'reported', ''];
  return `${textTable([head, ...rows])}\n\n${found} of these contradict the inventory`;
}
