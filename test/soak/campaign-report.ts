/** What a campaign must have held, and what it says. */
import assert from 'node:assert/strict';

import type { CampaignFindings, CampaignOptions } from './fleet-campaign.ts';

/** The server ends a workflow whose history has more. */
const historyEvents = 51_200;
const historyBytes = 50 * 1024 * 1024;

/** How soon nothing begins any more. */
const stopWithinMs = 10_000;

/** How soon everything that stood goes on. */
const resumeWithinMs = 15_000;

/**
 * Memory at the end may be above the middle's by the larger of both. A collector's heap breathes by
 * less; 10 kB kept of each replica, or of each closed workflow, is more at full size.
 */
const flatShare = 0.25;
const flatMiB = 48;

/**
 * The rate near the end is to be at least this part of the one after the beginning. Two runs on a
 * machine that others use differ by a fifth; what grows with what has been moved halves it.
 */
const constantShare = 0.7;

/** With fewer windows the rollout begins and ends, and has no middle. */
const windowsForRate = 10;

/** @param patience times the limits of a stop and of going on: other tests share the machine */
export function checkCampaign(
  options: CampaignOptions,
  findings: CampaignFindings,
  patience = 1,
): void {
  const { log, histories, stopDelayMs, failedClusters } = findings;
  const { clusters, window, perMachine, doomed } = options;
  assert.ok(log.mostClusters <= window, `${log.mostClusters} clusters were under way at once`);
  assert.ok(log.mostOnMachine <= perMachine, `${log.mostOnMachine} on one machine at once`);
  assert.equal(log.mostMembers, 1, 'members of a cluster at risk at once');
  assert.equal(log.movedAtMs.length, clusters, 'clusters that moved');
  assert.equal(failedClusters, doomed, 'clusters that failed before the budget stopped it');
  assert.ok(stopDelayMs < patience * stopWithinMs, `the stop took ${stopDelayMs} ms`);
  const { resumedAfterMs } = log;
  assert.ok(
    resumedAfterMs < patience * resumeWithinMs,
    `a cluster went on ${resumedAfterMs} ms after`,
  );
  checkMemory(findings.controlMiB);
  if (clusters >= windowsForRate * window) checkRate(log.beganAtMs);
  for (const [type, { mostEvents, mostBytes }] of Object.entries(histories)) {
    assert.ok(mostEvents < historyEvents / 4, `${type} had ${mostEvents} events`);
    assert.ok(mostBytes < historyBytes / 4, `${type} had ${mostBytes} bytes`);
  }
}

/** The last two tenths against the two in the middle. */
function checkMemory(controlMiB: readonly number[]): void {
  const parts = tenths(controlMiB);
  const middle = median(parts.slice(4, 6).flat());
  const end = median(parts.slice(-2).flat());
  const most = middle + Math.max(flatMiB, flatShare * middle);
  assert.ok(end <= most, `the control worker grew from ${middle} MiB in the middle to ${end}`);
}

/** Of the window's steady part: without the first waves, and without the last clusters. */
function checkRate(beganAtMs: readonly number[]): void {
  const rates = activityRates(beganAtMs);
  const early = median(rates.slice(2, 5));
  const late = median(rates.slice(6, 9));
  const said = rates.map((rate) => rate.toFixed(1)).join(', ');
  assert.ok(late >= constantShare * early, `the rate fell, by tenths: ${said}`);
}

/** Activities a second, in tenths of all, each by the seconds in which any began. */
function activityRates(beganAtMs: readonly number[]): number[] {
  return tenths(beganAtMs).map((part) => part.length / busySeconds(part));
}

/** Seconds in which any began: not while it was stopped, or waited for an operator. */
export function busySeconds(atMs: readonly number[]): number {
  return Math.max(1, new Set(atMs.map((time) => Math.floor(time / 1000))).size);
}

/** Lines for people. */
export function reportCampaign(findings: CampaignFindings): string[] {
  const { log, histories, controlMiB, seconds, stopDelayMs, rates } = findings;
  const perSecond = activityRates(log.beganAtMs).map((rate) => rate.toFixed(1));
  return [
    `${log.movedAtMs.length} clusters in ${seconds.toFixed(0)} s, ${log.activities} activities`,
    `activities a second: ${rates.fleet.toFixed(1)}; of children with as many no-ops: ${rates.noop.toFixed(1)}`,
    `attempts that failed, most of them injected: ${log.failedAttempts}`,
    `activities a second, in tenths of the rollout: ${perSecond.join(', ')}`,
    `most under way at once: ${log.mostClusters} clusters, ${log.mostOnMachine} on one machine`,
    `the last step began ${stopDelayMs} ms after the emergency stop`,
    `all that stood had begun a step ${log.resumedAfterMs} ms after the resume`,
    `control worker, MiB, in tenths: ${tenths(controlMiB).map(largest).join(', ')}`,
    ...Object.entries(histories).map(
      ([type, { runs, mostEvents, mostBytes }]) =>
        `${type}: ${runs} runs, at most ${mostEvents} events and ${mostBytes} bytes`,
    ),
  ];
}

function tenths<Item>(items: readonly Item[]): Item[][] {
  const size = Math.max(1, Math.ceil(items.length / 10));
  const parts: Item[][] = [];
  for (let from = 0; from < items.length; from += size) parts.push(items.slice(from, from + size));
  return parts;
}

function largest(values: readonly number[]): number {
  return Math.max(...values);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
