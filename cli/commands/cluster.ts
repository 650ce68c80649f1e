/** `quorumshift cluster`: a group's members, one after the other, and how that is steered. */
import type { Command } from 'commander';

import type { Clusters } from '../../client/control-plane.ts';
import { exitCodes } from '../../core/error-registry.ts';
import { assert } from '../../core/errors.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import type { Accepted } from '../../workflows/messages.ts';
import { clusterPlanText, clusterText, isRefused } from '../cluster-text.ts';
import { addConnectionOptions, withControlPlane, type ConnectionOptions } from '../connection.ts';
import { outputOption, parseListLimit, print, type OutputFormat } from '../output.ts';
import { addRolloutInput, withRollouts, type RolloutInputOptions } from '../rollout-input.ts';
import { printRuns } from '../run-list.ts';
import { confirmName, parseLimit, showChange } from './operate.ts';

interface ClusterOptions extends ConnectionOptions {
  readonly output: OutputFormat;
}

type InputOptions = ClusterOptions & RolloutInputOptions;

interface SteerOptions extends ClusterOptions {
  readonly reason: string;
  readonly member?: string;
  readonly yes?: boolean;
}

/** A status that is watched is asked for again after this. */
const watchIntervalMs = 1_000;

export function addCluster(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('migrate a Raft group, member by member, without endangering its quorum');
  const command = (name: string, description: string, example = '') =>
    addConnectionOptions(cluster.command(name).description(description))
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift cluster ${`${name} ${example}`.trim()}`);
  const onCluster = (name: string, description: string, rest = '') =>
    command(name, description, `kv ${rest}`).argument('<cluster>', 'its name in the inventory');
  const files = '--inventory inventory.yaml --policy policy.yaml';
  const withInput = (name: string, description: string) =>
    addRolloutInput(onCluster(name, description, files)).option(
      '--id <id>',
      'id of the rollout: starting again with it goes on where it was',
    );

  withInput('plan', 'what a start would do, with every check measured; changes nothing').action(
    plan,
  );
  withInput('start', 'begin a rollout, or go on with the one of the same id').action(start);
  onCluster('status', 'where a rollout stands, member by member, and why it waits', '--watch')
    .option('-w, --watch', 'until it ends')
    .action(status);
  command('list', 'rollouts, newest first', '--limit 10')
    .option('--limit <n>', 'at most so many', parseListLimit, 50)
    .action(list);
  onCluster('pause', 'no member begins or cuts over; bulk work stands still').action(
    steer((client, name) => client.pause(name)),
  );
  onCluster('resume', 'end a pause, or try again what failed').action(
    steer((client, name) => client.resume(name)),
  );
  onCluster('approve', 'let the cutovers begin').action(
    steer((client, name) => client.approve(name)),
  );
  onCluster('throttle', 'limit bulk work', '50MiB')
    .argument('<bytes>', 'bytes per second, such as 50MiB; "none" removes the limit', parseLimit)
    .action((name: string, bytes: number | null, options: SteerOptions) =>
      steer((client, of) => client.throttle(of, bytes))(name, options),
    );
  onCluster('skip', 'leave a member where it is', 'n2')
    .argument('<member>')
    .action((name: string, member: string, options: SteerOptions) =>
      steer((client, of) => client.skip(of, member))(name, options),
    );
  onCluster('rollback', 'take all that have moved back, the newest first', '--reason "too slow"')
    .option('--member <name>', 'this one alone; the rollout then waits for what you choose')
    .option('--reason <text>', 'goes into the audit trail', 'operator')
    .action(
      steer((client, name, { member = null, reason }) => client.rollback(name, { member, reason })),
    );
  onCluster('complete', 'finalize all that soak: rollback is refused from then on')
    .option('--yes', 'do not ask for the name')
    .action(complete);
  onCluster('abandon', 'end the rollout; its members’ migrations go on by themselves')
    .option('--reason <text>', 'goes into the audit trail', 'operator')
    .action(steer((client, name, { reason }) => client.abandon(name, reason)));
}

function withClusters<T>(
  options: ConnectionOptions,
  work: (clusters: Clusters) => Promise<T>,
): Promise<T> {
  return withControlPlane(options, ({ clusters }) => work(clusters));
}

function withRollout<T>(
  cluster: string,
  options: InputOptions,
  work: (clusters: Clusters, rollout: ClusterRollout) => Promise<T>,
): Promise<T> {
  return withRollouts(options, { clusters: [cluster] }, ({ clusters }, [rollout]) => {
    assert(rollout !== undefined, 'a selection that is not refused has a cluster');
    return work(clusters, rollout);
  });
}

async function plan(cluster: string, options: InputOptions): Promise<void> {
  const answer = await withRollout(cluster, options, (clusters, input) => clusters.plan(input));
  print(options.output, { t: 'plan', cluster, ...answer }, () => clusterPlanText(answer));
  if (isRefused(answer)) process.exitCode = exitCodes.refused;
}

async function start(cluster: string, options: InputOptions): Promise<void> {
  const started = await withRollout(cluster, options, (clusters, input) => clusters.start(input));
  print(options.output, { t: 'started', ...started }, () =>
    [
      `${started.fresh ? 'started' : 'already started'}: rollout ${started.rolloutId} of ${cluster}`,
      `watch it: quorumshift cluster status -w ${cluster}`,
    ].join('\n'),
  );
}

async function status(
  cluster: string,
  options: ClusterOptions & { readonly watch?: boolean },
): Promise<void> {
  await withClusters(options, async (client) => {
    if (options.watch !== true) {
      const report = await client.status(cluster);
      print(options.output, report, () => clusterText(report));
      return;
    }
    let before = '';
    for await (const report of client.watch(cluster, { intervalMs: watchIntervalMs })) {
      before = showChange(options.output, { report, toText: clusterText, before });
    }
  });
}

async function list(options: ClusterOptions & { readonly limit: number }): Promise<void> {
  const found = await withClusters(options, (client) => client.list({ limit: options.limit }));
  printRuns(options.output, found, {
    what: 'rollouts',
    names: ({ cluster, rolloutId }) => [cluster, rolloutId],
  });
}

async function complete(cluster: string, options: SteerOptions): Promise<void> {
  if (options.yes !== true) await confirmName(cluster);
  await steer((client, name) => client.complete(name))(cluster, options);
}

function steer(
  call: (client: Clusters, cluster: string, options: SteerOptions) => Promise<Accepted>,
) {
  return async (cluster: string, options: SteerOptions): Promise<void> => {
    const accepted = await withClusters(options, (client) => call(client, cluster, options));
    const paused =
      accepted.paused === true ? `; it stands paused: "cluster resume ${cluster}"` : '';
    print(options.output, { t: 'accepted', ...accepted }, () => `accepted${paused}`);
  };
}
