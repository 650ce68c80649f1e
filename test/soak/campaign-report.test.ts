import { describe, expect, test } from 'vitest';

import { checkCampaign } from './campaign-report.ts';
import type { CampaignFindings, CampaignOptions } from './fleet-campaign.ts';

const options: CampaignOptions = {
  bin: '',
  replicas: 300,
  clusters: 100,
  machines: 50,
  window: 10,
  perMachine: 1,
  doomed: 0,
  failingShare: 0,
  seed: 1,
  patienceMs: 0,
  log: () => {},
};

/** Activities that begin at this rate in each of a hundred seconds. */
function begun(perSecond: (second: number) => number): number[] {
  return Array.from({ length: 100 }, (_, second) =>
    Array.from({ length: perSecond(second) }, (_one, i) => second * 1000 + i),
  ).flat();
}

function findings(given: {
  readonly mib?: (sample: number) => number;
  readonly perSecond?: (second: number) => number;
  readonly resumedAfterMs?: number;
}): CampaignFindings {
  const { mib = () => 300, perSecond = () => 20, resumedAfterMs = 100 } = given;
  const beganAtMs = begun(perSecond);
  return {
    log: {
      mostClusters: 10,
      mostOnMachine: 1,
      mostMembers: 1,
      activities: beganAtMs.length,
      failedAttempts: 0,
      movedAtMs: Array.from({ length: options.clusters }, (_, i) => i),
      beganAtMs,
      stepsAtMs: beganAtMs,
      resumedAfterMs,
    },
    seconds: 100,
    stopDelayMs: 500,
    controlMiB: Array.from({ length: 100 }, (_, sample) => mib(sample)),
    histories: {},
    failedClusters: 0,
    rates: { fleet: 20, noop: 30 },
  };
}

describe('a campaign', () => {
  test('that is even throughout is accepted, with a heap that breathes and a slow beginning and end', () => {
    const mib = (sample: number) => 300 + (sample % 7) * 8;
    const perSecond = (second: number) => (second < 10 || second > 95 ? 6 : 20 + (second % 3));
    expect(() => checkCampaign(options, findings({ mib, perSecond }))).not.toThrow();
  });

  test('whose control worker keeps a little of each cluster is refused', () => {
    const mib = (sample: number) => 200 + 2 * sample;
    expect(() => checkCampaign(options, findings({ mib }))).toThrow(/grew from 300 MiB/);
  });

  test('that becomes slower the more has been moved is refused', () => {
    const perSecond = (second: number) => Math.round(30 / (1 + second / 50));
    expect(() => checkCampaign(options, findings({ perSecond }))).toThrow(/rate fell/);
  });

  test('in which a cluster stands after the resume until some timer is refused', () => {
    expect(() => checkCampaign(options, findings({ resumedAfterMs: 60_000 }))).toThrow(/went on/);
  });
});
