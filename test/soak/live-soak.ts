/**
 * A long campaign of random kills against live migrations, from the command line:
 *
 *     node dist/test/soak/live-soak.js --kills 200 --seed 1
 *     node dist/test/soak/live-soak.js --workflows --kills 200 --seed 1
 *     node dist/test/soak/live-soak.js --host-only --kills 1000 --seed 1
 *
 * The first kills nodes, hosts and operators' commands of a hashicorp/raft cluster (Go is needed);
 * the second moves its replicas by workflows, and kills agents, control worker and server instead
 * of commands; the third kills a storage host with raw clients, many times a minute.
 */
import { parseArgs } from 'node:util';

import { findTemporalBinary } from '../../worker/temporal-server-source.ts';
import { runHostCampaign } from './host-campaign.ts';
import { runLiveCampaign } from './live-campaign.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    /** Of each replica, at least. */
    migrations: { type: 'string', default: '3' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    workflows: { type: 'boolean', default: false },
    'host-only': { type: 'boolean', default: false },
  },
});
const log = (line: string) => console.log(line);
const seed = Number(values.seed);
log(`seed ${seed}`);
const startedMs = performance.now();
const temporal = values.workflows
  ? (await findTemporalBinary({ env: process.env, install: false, log })).binary
  : undefined;
const run = values['host-only'] ? runHostCampaign : runLiveCampaign;
const result = await run({
  kills: Number(values.kills),
  fewestMigrations: Number(values.migrations),
  seed,
  log,
  ...(temporal !== undefined && { temporal }),
});
log(JSON.stringify(result, null, 2));
log(`${Math.round((performance.now() - startedMs) / 1000)} s`);
