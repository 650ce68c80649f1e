import { describe, expect, test } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import { checkCampaign, reportCampaign } from '../soak/campaign-report.ts';
import { FleetCampaign } from '../soak/fleet-campaign.ts';

describe.skipIf(missing('temporal'))('a simulated fleet, in its short form', () => {
  test(
    'of 40 clusters on 12 machines two fail, are mended, and all are moved within every limit [ROLL-3] [ROLL-6] [OPS-1] [OPS-3] [I13] [I14]',
    { timeout: 600_000 },
    async () => {
      const options = {
        bin: process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '',
        replicas: 120,
        clusters: 40,
        machines: 12,
        window: 4,
        perMachine: 2,
        doomed: 2,
        failingShare: 0.01,
        seed: 1,
        log: () => {},
      };
      const findings = await FleetCampaign.run(options);
      checkCampaign(options, findings);
      expect(reportCampaign(findings).length).toBeGreaterThan(0);
      expect(findings.log.failedAttempts).toBeGreaterThan(0);
    },
  );
});
