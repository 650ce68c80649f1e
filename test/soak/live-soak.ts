/**
 * A long campaign of random kills against live migrations, from the command line:
 *
 *     node dist/test/soak/live-soak.js --kills 200 --seed 1
 *     node dist/test/soak/live-soak.js --host-only --kills 1000 --seed 1
 *
 * The first kills nodes, hosts and operators' commands of a hashicorp/raft cluster (Go is needed);
 * the other a storage host with raw clients, many times a minute.
 */
import { parseArgs } from 'node:util';

import { runHostCampaign } from './host-campaign.ts';
import { runLiveCampaign } from './live-campaign.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    /** Of each replica, at least. */
    migrations: { type: 'string', default: '3' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'host-only': { type: 'boolean', default: false },
  },
});
const log = (line: string) => console.log(line);
const seed = Number(values.seed);
log(`seed ${seed}`);
const startedMs = performance.now();
const run = values['host-only'] ? runHostCampaign : runLiveCampaign;
const result = await run({
  kills: Number(values.kills),
  fewestMigrations: Number(values.migrations),
  seed,
  log,
});
log(JSON.stringify(result, null, 2));
log(`${Math.round((performance.now() - startedMs) / 1000)} s`);
