/** `quorumshift fleet`: many clusters in waves, and how that is steered. */
import type { Command } from 'commander';

import { ClusterClient } from '../../client/cluster-client.ts';
import { FleetClient, type FleetReport } from '../../client/fleet-client.ts';
import type { Accepted } from '../../workflows/messages.ts';
import { addControlStoreOptions, type ControlStoreOptions } from '../control-store-options.ts';
import {
  addFleetInput,
  fleetRollouts,
  storeSnapshot,
  type FleetInputOptions,
} from '../fleet-input.ts';
import { planFleet } from '../fleet-plan.ts';
import { fleetPlanText, fleetText, type FleetTree } from '../fleet-text.ts';
import { outputOption, parseCount, parseListLimit, print, type OutputFormat } from '../output.ts';
import { printRuns } from '../run-list.ts';
import { addTemporalOptions, withTemporal, type TemporalOptions } from '../temporal-options.ts';
import { confirmName, parseLimit, showChange } from './operate.ts';

interface FleetOptions extends TemporalOptions {
  readonly output: OutputFormat;
}

interface SteerOptions extends FleetOptions {
  readonly reason: string;
  readonly yes?: boolean;
}

type InputOptions = FleetOptions & FleetInputOptions & ControlStoreOptions;

/** A status that is watched is asked for again after this. */
const watchIntervalMs = 2_000;

/** Clusters that a status shows member by member: each is some questions to the server. */
const shownClusters = 10;

/** Clusters that a plan asks the agents about, if nothing else is said. */
const measuredClusters = 5;

export function addFleet(program: Command): void {
  const fleet = program
    .command('fleet')
    .description('migrate many clusters: a canary, then growing waves, within a failure budget');
  const command = (name: string, description: string, example = '') =>
    addTemporalOptions(fleet.command(name).description(description))
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift fleet ${`${name} ${example}`.trim()}`);
  const onFleet = (name: string, description: string, rest = '') =>
    command(name, description, `prod ${rest}`).argument('<fleet>', 'a name of your choice');
  const files = '--inventory inventory.yaml --policy policy.yaml';

  addFleetInput(onFleet('plan', 'order, waves, machines, sizes, time; changes nothing', files))
    .option('--measure <n>', 'ask the agents of so many clusters', parseCount, measuredClusters)
    .action(plan);
  const start = onFleet('start', 'begin a rollout, or go on with the one of this id', files);
  addControlStoreOptions(addFleetInput(start))
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

function withFleets<T>(
  options: TemporalOptions,
  work: (client: FleetClient, clusters: ClusterClient) => Promise<T>,
): Promise<T> {
  return withTemporal(options, (given) => work(new FleetClient(given), new ClusterClient(given)));
}

async function plan(fleet: string, options: InputOptions & { readonly measure: number }) {
  const rollouts = await fleetRollouts(options);
  const answer = await withFleets(options, (_client, clusters) =>
    planFleet({ fleet, rollouts, measure: options.measure, clusters }),
  );
  print(options.output, { t: 'plan', ...answer }, () => fleetPlanText(answer));
}

async function startFleet(fleet: string, options: InputOptions): Promise<void> {
  const rollouts = await fleetRollouts(options);
  const [first] = rollouts;
  if (first === undefined) return;
  const { policy, rolloutId, requestedBy } = first;
  const snapshot = await storeSnapshot(options, rollouts);
  const started = await withFleets(options, (client) =>
    client.start({ fleet, rolloutId, snapshot, policy, requestedBy }),
  );
  print(options.output, { t: 'started', snapshot, ...started }, () =>
    [
      `${started.fresh ? 'started' : 'already started'}: rollout ${rolloutId} of ${rollouts.length} clusters, by snapshot ${snapshot}`,
      `watch it: quorumshift fleet status -w ${fleet}`,
    ].join('\n'),
  );
}

async function status(
  fleet: string,
  options: FleetOptions & { readonly watch?: boolean },
): Promise<void> {
  await withFleets(options, async (client, clusters) => {
    if (options.watch !== true) {
      const report = await treeOf(await client.status(fleet), clusters);
      print(options.output, report, () => fleetText(report));
      return;
    }
    let before = '';
    for await (const seen of client.watch(fleet, { intervalMs: watchIntervalMs })) {
      const report = await treeOf(seen, clusters);
      before = showChange(options.output, { report, toText: fleetText, before });
    }
  });
}

/** With the first clusters' own words; one that has just gone is left out. */
async function treeOf(report: FleetReport, clusters: ClusterClient): Promise<FleetTree> {
  const shown = (report.status?.clusters ?? [])
    .filter(({ stage }) => stage !== 'ended')
    .slice(0, shownClusters);
  const members = await Promise.all(
    shown.map(({ cluster }) => clusters.status(cluster).catch(() => null)),
  );
  return { ...report, members: members.filter((one) => one !== null) };
}

async function list(options: FleetOptions & { readonly limit: number }): Promise<void> {
  const found = await withFleets(options, (client) => client.list({ limit: options.limit }));
  printRuns(options.output, found, {
    what: 'rollouts',
    names: ({ fleet, rolloutId }) => [fleet, rolloutId],
  });
}

async function complete(fleet: string, options: SteerOptions): Promise<void> {
  if (options.yes !== true) await confirmName(fleet);
  await steer((client, name) => client.complete(name))(fleet, options);
}

function steer(
  call: (client: FleetClient, fleet: string, options: SteerOptions) => Promise<Accepted>,
) {
  return async (fleet: string, options: SteerOptions): Promise<void> => {
    const accepted = await withFleets(options, (client) => call(client, fleet, options));
    print(options.output, { t: 'accepted', ...accepted }, () => 'accepted');
  };
}
