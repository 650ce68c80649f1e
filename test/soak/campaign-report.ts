/** What a campaign must have held, and what it says. */
import assert from 'node:assert/strict';

import type { CampaignFindings, CampaignOptions } from './fleet-campaign.ts';

/** The server ends a workflow whose history has more. */
const historyEvents = 51_200;
const historyBytes = 50 * 1024 * 1024;

/** How soon nothing begins any more. */
const stopWithinMs = 10_000;

export function checkCampaign(options: CampaignOptions, findings: CampaignFindings): void {
  const { log, histories, stopDelayMs, failedClusters } = findings;
  const { clusters, window, perMachine, doomed } = options;
  assert.ok(log.mostClusters <= window, `${log.mostClusters} clusters were under way at once`);
  assert.ok(log.mostOnMachine <= perMachine, `${log.mostOnMachine} on one machine at once`);
  assert.equal(log.mostMembers, 1, 'members of a cluster at risk at once');
  assert.equal(log.movedAtMs.length, clusters, 'clusters that moved');
  assert.equal(failedClusters, doomed, 'clusters that failed before the budget stopped it');
  assert.ok(stopDelayMs < stopWithinMs, `the stop took ${stopDelayMs} ms`);
  for (const [type, { mostEvents, mostBytes }] of Object.entries(histories)) {
    assert.ok(mostEvents < historyEvents / 4, `${type} had ${mostEvents} events`);
    assert.ok(mostBytes < historyBytes / 4, `${type} had ${mostBytes} bytes`);
  }
}

/** Lines for people, and for docs/benchmarks.md. */
export function reportCampaign(findings: CampaignFindings): string[] {
  const { log, histories, controlMiB, seconds, stopDelayMs, rates } = findings;
  const perMinute = ratesPerMinute(log.movedAtMs).map((rate) => rate.toFixed(0));
  return [
    `${log.movedAtMs.length} clusters in ${seconds.toFixed(0)} s, ${log.activities} activities`,
    `activities a second: ${rates.fleet.toFixed(1)}; of children with as many no-ops: ${rates.noop.toFixed(1)}`,
    `attempts that failed, most of them injected: ${log.failedAttempts}`,
    `clusters a minute, in tenths of the rollout: ${perMinute.join(', ')}`,
    `most under way at once: ${log.mostClusters} clusters, ${log.mostOnMachine} on one machine`,
    `the last step began ${stopDelayMs} ms after the emergency stop`,
    `control worker, MiB, in tenths: ${tenths(controlMiB).map(largest).join(', ')}`,
    ...Object.entries(histories).map(
      ([type, { runs, mostEvents, mostBytes }]) =>
        `${type}: ${runs} runs, at most ${mostEvents} events and ${mostBytes} bytes`,
    ),
  ];
}

export function ratesPerMinute(atMs: readonly number[]): number[] {
  return tenths(atMs)
    .filter((part) => part.length > 1)
    .map((part) => {
      const spanMs = (part.at(-1) ?? 0) - (part[0] ?? 0);
      return ((part.length - 1) * 60_000) / Math.max(1, spanMs);
    });
}

export function tenths<Item>(items: readonly Item[]): Item[][] {
  const size = Math.max(1, Math.ceil(items.length / 10));
  const parts: Item[][] = [];
  for (let from = 0; from < items.length; from += size) parts.push(items.slice(from, from + size));
  return parts;
}

function largest(values: readonly number[]): number {
  return Math.max(...values);
}
