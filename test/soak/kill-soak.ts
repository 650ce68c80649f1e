/**
 * A long campaign of random kills, from the command line:
 *
 *     node dist/test/soak/kill-soak.js --kills 200 --seed 1
 */
import { parseArgs } from 'node:util';

import { findTemporalBinary } from '../../worker/temporal-server-source.ts';
import { runCampaign } from './kill-campaign.ts';
import { KillableFleet } from './killable-fleet.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    machines: { type: 'string', default: '3' },
  },
});
const log = (line: string) => console.log(line);
const seed = Number(values.seed);
log(`seed ${seed}`);
const { binary } = await findTemporalBinary({ env: process.env, install: false, log });
const fleet = await KillableFleet.start({ bin: binary, machines: Number(values.machines) });
try {
  const startedMs = performance.now();
  const kills = Number(values.kills);
  const { hits, migrations } = await runCampaign(fleet, { kills, seed, log });
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  const inside = hits.filter(({ begun }) => begun).length;
  log(`${hits.length} kills (${inside} inside a step), ${migrations} migrations in ${seconds} s`);
} catch (error) {
  log(fleet.log());
  throw error;
} finally {
  await fleet.close();
}
