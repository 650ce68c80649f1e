/**
 * One Temporal server for all test files of a run, started by the first that asks (see
 * shared-temporal.ts) and stopped at the end. Finds the server's program for runs of plain vitest.
 */
import { createServer, type Server } from 'node:http';

import type { TestProject } from 'vitest/node';

import { hasCode } from '../../core/errors.ts';
import { findTemporalBinary } from '../../worker/temporal-server-source.ts';
import type { TemporalServer } from '../../worker/temporal-server.ts';
import { findSchemathesis } from './schemathesis.ts';
import { startTestServer } from './test-server.ts';
import { findTimeSkipping } from './time-skipping.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** URL that starts the shared server and answers its address and namespace as JSON. */
    temporalStarter: string;
  }
}

let starting: Promise<TemporalServer> | undefined;
let starter: Server | undefined;

export async function setup(project: TestProject): Promise<void> {
  await nameBinary();
  const schemathesis = findSchemathesis(process.env);
  if (schemathesis !== null) process.env['QUORUMSHIFT_SCHEMATHESIS'] = schemathesis;
  const timeSkipping = findTimeSkipping(process.env);
  if (timeSkipping !== null) process.env['QUORUMSHIFT_TIME_SKIPPING'] = timeSkipping;
  starter = createServer((_request, response) => {
    starting ??= startTestServer();
    starting.then(
      ({ address, namespace }) => response.end(JSON.stringify({ address, namespace })),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  const listening = starter;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  if (address === null || typeof address === 'string') throw new TypeError('no TCP address');
  project.provide('temporalStarter', `http://127.0.0.1:${address.port}/`);
}

export async function teardown(): Promise<void> {
  starter?.close();
  const server = await starting?.catch(() => undefined);
  // Its state is thrown away: no need for the seconds of an orderly end.
  await server?.kill();
}

/** Test processes inherit the variable; absent means that suites with a server are skipped. */
async function nameBinary(): Promise<void> {
  try {
    const found = await findTemporalBinary({ env: process.env, install: false, log: () => {} });
    process.env['QUORUMSHIFT_TEMPORAL_BIN'] = found.binary;
  } catch (error) {
    if (!hasCode(error, 'temporal.no-server')) throw error;
    delete process.env['QUORUMSHIFT_TEMPORAL_BIN'];
  }
}
