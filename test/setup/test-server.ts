/** Temporal servers of tests. */
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from './free-ports.ts';
import { startTemporalServer, type TemporalServer } from '../../worker/temporal-server.ts';

const memory = '/dev/shm';

/** A container may have a tiny one. */
const enoughBytes = 2 * 1024 ** 3;

/**
 * Of the test's own, so that names are free; its state is thrown away when it is killed.
 * @param settings by the names of the server's dynamic configuration
 */
export async function startTestServer(
  settings: Readonly<Record<string, number>> = {},
): Promise<TemporalServer> {
  const bin = process.env['QUORUMSHIFT_TEMPORAL_BIN'];
  if (bin === undefined) throw new Error('no Temporal server: skip this suite by missing()');
  const directory = await makeServerDirectory();
  const server = await startTemporalServer({
    bin,
    dbFile: join(directory, 'temporal.db'),
    settings,
    port: await freePort(),
  });
  const kill = async () => {
    await server.kill();
    await rm(directory, { recursive: true, force: true });
  };
  return { ...server, kill };
}

/**
 * For a server's database: in memory where there is room. What `kill -9` leaves is there as well,
 * and the server's syncs, several for each workflow task, cost nothing. Ours stay on the disk.
 */
export async function makeServerDirectory(): Promise<string> {
  return mkdtemp(join((await hasRoom()) ? memory : tmpdir(), 'quorumshift-temporal-'));
}

async function hasRoom(): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(memory);
    return bavail * bsize >= enoughBytes;
  } catch {
    return false;
  }
}
