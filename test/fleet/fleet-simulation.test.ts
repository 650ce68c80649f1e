import { describe, expect, test } from 'vitest';

import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import { checkCampaign, reportCampaign } from '../soak/campaign-report.ts';
import { FleetCampaign } from '../soak/fleet-campaign.ts';

/** More by QUORUMSHIFT_LONG=1. */
const clusters = isLong ? 40 : 8;

describe.skipIf(missing('temporal'))('a simulated fleet, in its short form', () => {
  test(
    'of many clusters on 12 machines two fail, are mended, and all are moved within every limit [ROLL-3] [ROLL-6] [OPS-1] [OPS-3] [I13] [I14]',
    { timeout: 600_000 },
    async () => {
      const options = {
        bin: process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '',
        replicas: 3 * clusters,
        clusters,
        machines: 12,
        window: 4,
        perMachine: 2,
        doomed: 2,
        failingShare: 0.03,
        seed: 1,
        patienceMs: 300_000,
        log: () => {},
      };
      const findings = await FleetCampaign.run(options);
      checkCampaign(options, findings, 4);
      expect(reportCampaign(findings).length).toBeGreaterThan(0);
      expect(findings.log.failedAttempts).toBeGreaterThan(0);
    },
  );
});
