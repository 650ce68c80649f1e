/**
 * A simulation of a large fleet, from the command line:
 *
 *     node dist/test/soak/fleet-simulation.js --replicas 10000 --clusters 2000 --machines 1000
 */
import { parseArgs } from 'node:util';

import { findTemporalBinary } from '../../worker/temporal-server-source.ts';
import { checkCampaign, reportCampaign } from './campaign-report.ts';
import { FleetCampaign } from './fleet-campaign.ts';

const { values } = parseArgs({
  options: {
    replicas: { type: 'string', default: '10000' },
    clusters: { type: 'string', default: '2000' },
    machines: { type: 'string', default: '1000' },
    window: { type: 'string', default: '20' },
    'per-machine': { type: 'string', default: '1' },
    doomed: { type: 'string', default: '5' },
    'failing-share': { type: 'string', default: '0.005' },
    seed: { type: 'string', default: '1' },
  },
});
const log = (line: string) => console.log(line);
const { binary } = await findTemporalBinary({ env: process.env, install: false, log });
const options = {
  bin: binary,
  replicas: Number(values.replicas),
  clusters: Number(values.clusters),
  machines: Number(values.machines),
  window: Number(values.window),
  perMachine: Number(values['per-machine']),
  doomed: Number(values.doomed),
  failingShare: Number(values['failing-share']),
  seed: Number(values.seed),
  // Of ten thousand replicas: a night.
  patienceMs: 12 * 60 * 60_000,
  log,
};
const findings = await FleetCampaign.run(options);
for (const line of reportCampaign(findings)) log(line);
checkCampaign(options, findings);
