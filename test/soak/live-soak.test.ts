import { describe, expect, test } from 'vitest';

import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import { runHostCampaign } from './host-campaign.ts';
import { runLiveCampaign } from './live-campaign.ts';

const seed = Number(process.env['SEED'] ?? 1);
const options = { kills: 10, fewestMigrations: 1, seed, log: () => {} };

/** A loaded machine takes several times as long. */
const patienceMs = 600_000;

describe(`short campaigns of random kills beside live migrations (SEED=${seed})`, () => {
  test(
    'of a host with four replicas: after each kill a replica holds what its client was told and at most what was in flight; every migration ends; pairs are equal [I1] [I8] [I17] [DUAL-3] [DUAL-4] [CUT-1] [CUT-4]',
    async () => {
      const { kills, finalized, checks } = await runHostCampaign(options);
      expect(kills).toBe(10);
      expect(finalized).toBeGreaterThanOrEqual(4);
      expect(checks).toBeGreaterThan(10);
    },
    patienceMs,
  );

  test.skipIf(missing('go'))(
    "of a hashicorp/raft cluster's nodes, hosts and operators: the clients' history is linearizable, every acknowledged write is there, all nodes end equal, no cutover causes an election [I1] [I8] [I17] [CUT-1] [CUT-4] [ROLL-4] [ROLL-5]",
    async () => {
      const { finalized, history } = await runLiveCampaign(options);
      expect(finalized).toBeGreaterThanOrEqual(3);
      expect(history.operations).toBeGreaterThan(100);
    },
    patienceMs,
  );

  test.runIf(isLong && !missing('go') && !missing('temporal'))(
    'of the same cluster, moved by workflows whose agents, control worker and server are killed too: the same holds [OPS-1] [I1] [I8] [I17] [ROLL-4] [ROLL-5]',
    async () => {
      const temporal = process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '';
      const { finalized, history } = await runLiveCampaign({ ...options, temporal });
      expect(finalized).toBeGreaterThanOrEqual(3);
      expect(history.operations).toBeGreaterThan(100);
    },
    patienceMs,
  );
});
