/** `quorumshift fleet`: many clusters in waves, and how that is steered. */
import type { Command } from 'commander';

import type { ControlPlane, Fleets } from '../../client/control-plane.ts';
import { watchRuns } from '../../client/watch-runs.ts';
import type { Accepted } from '../../workflows/messages.ts';
import { addSelection, selectionOf, type SelectionOptions } from '../cluster-selection.ts';
import { addConnectionOptions, withControlPlane, type ConnectionOptions } from '../connection.ts';
import { addControlStoreOptions } from '../control-store-options.ts';
import { planFleet } from '../fleet-plan.ts';
import { fleetPlanText, fleetText, type FleetTree } from '../fleet-text.ts';
import { outputOption, parseCount, parseListLimit, print, type OutputFormat } from '../output.ts';
import { addRolloutInput, withRollouts, type RolloutInputOptions } from '../rollout-input.ts';
import { printRuns } from '../run-list.ts';
import { confirmName, parseLimit, showChange } from './operate.ts';

interface FleetOptions extends ConnectionOptions {
  readonly output: OutputFormat;
}

interface SteerOptions extends FleetOptions {
  readonly reason: string;
  readonly yes?: boolean;
}

type InputOptions = FleetOptions & RolloutInputOptions & SelectionOptions;

/** A status that is watched is asked for again after this. */
const watching = { intervalMs: 2_000 };

/** Clusters that a status shows member by member: each is some questions to the server. */
const shownClusters = 10;

/** Clusters that a plan asks the agents about, if nothing else is said. */
const measuredClusters = 5;

export function addFleet(program: Command): void {
  const fleet = program
    .command('fleet')
    .description('migrate many clusters: a canary, then growing waves, within a failure budget');
  const command = (name: string, description: string, example = '') =>
    addConnectionOptions(fleet.command(name).description(description))
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift fleet ${`${name} ${example}`.trim()}`);
  const onFleet = (name: string, description: string, rest = '') =>
    command(name, description, `prod ${rest}`).argument('<fleet>', 'a name of your choice');
  const files = '--inventory inventory.yaml --policy policy.yaml';

  const planning = onFleet('plan', 'order, waves, machines, sizes, time; changes nothing', files);
  addSelection(addRolloutInput(planning))
    .option('--measure <n>', 'ask the agents of so many clusters', parseCount, measuredClusters)
    .action(plan);
  const start = onFleet('start', 'begin a rollout, or go on with the one of this id', files);
  addControlStoreOptions(addSelection(addRolloutInput(start)))
    .option('--id <id>', 'id of the rollout: starting again with it goes on where it was')
    .action(startFleet);
  onFleet('status', 'where it stands: waves, clusters, members, and why each waits', '--watch')
    .option('-w, --watch', 'until it ends')
    .action(status);
  command('list', 'rollouts of fleets, newest first', '--limit 10')
    .option('--limit <n>', 'at most so many', parseListLimit, 50)
    .action(list);
  onFleet('pause', 'no cluster begins; those under way stand still').action(
    steer((client, name) => client.pause(name)),
  );
  onFleet('resume', 'end a pause or a stop, and try again what failed').action(
    steer((client, name) => client.resume(name)),
  );
  onFleet('approve', 'let the next wave begin').action(
    steer((client, name) => client.approve(name)),
  );
  onFleet('throttle', 'limit bulk work of each member', '50MiB')
    .argument('<bytes>', 'bytes per second, such as 50MiB; "none" removes the limit', parseLimit)
    .action((name: string, bytes: number | null, options: SteerOptions) =>
      steer((client, of) => client.throttle(of, bytes))(name, options),
    );
  onFleet('stop', 'emergency: nothing begins, everything under way pauses', '--reason "outage"')
    .requiredOption('--reason <text>', 'goes into the audit trail')
    .action(steer((client, name, { reason }) => client.stop(name, reason)));
  onFleet('skip', 'leave out a cluster that has not begun, or has failed', 'c17')
    .argument('<cluster>')
    .action((name: string, cluster: string, options: SteerOptions) =>
      steer((client, of) => client.skip(of, cluster))(name, options),
    );
  onFleet('rollback', 'take back every cluster that is not final, the latest first')
    .option('--reason <text>', 'goes into the audit trail', 'operator')
    .action(steer((client, name, { reason }) => client.rollback(name, reason)));
  onFleet('complete', 'finalize all clusters that soak: no rollback of them from then on')
    .option('--yes', 'do not ask for the name')
    .action(complete);
}

async function plan(fleet: string, options: InputOptions & { readonly measure: number }) {
  const { measure } = options;
  const answer = await withRollouts(options, selectionOf(options), ({ clusters }, rollouts) =>
    planFleet({ fleet, rollouts, measure, clusters }),
  );
  print(options.output, { t: 'plan', ...answer }, () => fleetPlanText(answer));
}

async function startFleet(fleet: string, options: InputOptions): Promise<void> {
  const { started, count } = await withRollouts(
    options,
    selectionOf(options),
    async (plane, rollouts) => ({
      started: await plane.startFleet(fleet, rollouts),
      count: rollouts.length,
    }),
  );
  const { snapshot, fresh, rolloutId } = started;
  print(options.output, { t: 'started', ...started }, () =>
    [
      `${fresh ? 'started' : 'already started'}: rollout ${rolloutId} of ${count} clusters, by snapshot ${snapshot}`,
      `watch it: quorumshift fleet status -w ${fleet}`,
    ].join('\n'),
  );
}

async function status(
  fleet: string,
  options: FleetOptions & { readonly watch?: boolean },
): Promise<void> {
  await withControlPlane(options, async (plane) => {
    if (options.watch !== true) {
      const report = await treeOf(plane, fleet);
      print(options.output, report, () => fleetText(report));
      return;
    }
    let before = '';
    for await (const report of watchRuns(() => treeOf(plane, fleet), watching)) {
      before = showChange(options.output, { report, toText: fleetText, before });
    }
  });
}

/** With the first clusters' own words; one that has just gone is left out. */
async function treeOf({ fleets, clusters }: ControlPlane, fleet: string): Promise<FleetTree> {
  const report = await fleets.status(fleet);
  const shown = (report.status?.clusters ?? [])
    .filter(({ stage }) => stage !== 'ended')
    .slice(0, shownClusters);
  const members = await Promise.all(
    shown.map(({ cluster }) => clusters.status(cluster).catch(() => null)),
  );
  return { ...report, members: members.filter((one) => one !== null) };
}

async function list(options: FleetOptions & { readonly limit: number }): Promise<void> {
  const found = await withControlPlane(options, ({ fleets }) =>
    fleets.list({ limit: options.limit }),
  );
  printRuns(options.output, found, {
    what: 'rollouts',
    names: ({ fleet, rolloutId }) => [fleet, rolloutId],
  });
}

async function complete(fleet: string, options: SteerOptions): Promise<void> {
  if (options.yes !== true) await confirmName(fleet);
  await steer((client, name) => client.complete(name))(fleet, options);
}

function steer(call: (client: Fleets, fleet: string, options: SteerOptions) => Promise<Accepted>) {
  return async (fleet: string, options: SteerOptions): Promise<void> => {
    const accepted = await withControlPlane(options, ({ fleets }) => call(fleets, fleet, options));
    print(options.output, { t: 'accepted', ...accepted }, () => 'accepted');
  };
}
