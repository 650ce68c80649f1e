import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { runCampaign } from '../soak/kill-campaign.ts';
import { KillableFleet } from '../soak/killable-fleet.ts';
import { missing } from '../setup/toolchain.ts';

const kills = 20;

describe.skipIf(missing('temporal'))('kill -9 at random moments', () => {
  let fleet: KillableFleet;

  beforeAll(async () => {
    const bin = process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '';
    fleet = await KillableFleet.start({ bin, machines: 3 });
  });

  afterAll(() => fleet?.close());

  test(
    '20 kills of agents, control worker and server, each inside a phase: every migration ends as without [OPS-1] [I13] [I17]',
    { timeout: 300_000 },
    async () => {
      const seed = Number(process.env['QUORUMSHIFT_SEED'] ?? Date.now() % 1_000_000);
      console.log(`seed ${seed}`);
      const log = (line: string) => console.log(line);
      const { hits, migrations } = await runCampaign(fleet, { kills, seed, log });
      expect(hits).toHaveLength(kills);
      expect(migrations).toBeGreaterThan(0);
    },
  );
});
