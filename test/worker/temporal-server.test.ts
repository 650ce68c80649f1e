import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { startTemporalServer, type TemporalServer } from '../../worker/temporal-server.ts';
import { runCli } from '../cli/run-cli.ts';
import { missing } from '../setup/toolchain.ts';

let scratch: string;
const started: TemporalServer[] = [];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'quorumshift-server-'));
});

afterAll(async () => {
  for (const server of started) await server.kill();
  await rm(scratch, { recursive: true, force: true });
});

async function start(options: { port?: number } = {}): Promise<TemporalServer> {
  const bin = process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '';
  const dbFile = join(scratch, 'temporal.db');
  const server = await startTemporalServer({ bin, dbFile, ...options });
  started.push(server);
  return server;
}

async function withClient<Result>(
  server: TemporalServer,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const connection = await Connection.connect({ address: server.address });
  try {
    return await work(new Client({ connection, namespace: server.namespace }));
  } finally {
    await connection.close();
  }
}

async function startWorkflow(client: Client, workflowId: string): Promise<void> {
  await client.workflow.start('nobody', { workflowId, taskQueue: 'nobody' });
}

async function status(client: Client, workflowId: string): Promise<string> {
  return (await client.workflow.getHandle(workflowId).describe()).status.name;
}

describe.skipIf(missing('temporal'))('a development server', () => {
  test('killed or stopped and started again on its file and port, it knows its workflows', async () => {
    const first = await start();
    const port = Number(first.address.split(':')[1]);
    await withClient(first, (client) => startWorkflow(client, 'before-kill'));
    await first.kill();

    const second = await start({ port });
    expect(await withClient(second, (client) => status(client, 'before-kill'))).toBe('RUNNING');
    await withClient(second, (client) => startWorkflow(client, 'before-stop'));
    await second.stop();

    const third = await start({ port });
    expect(third.address).toBe(first.address);
    expect(await withClient(third, (client) => status(client, 'before-stop'))).toBe('RUNNING');
  });

  test('on a port that is taken, the error holds the last words of the server', async () => {
    const port = Number(started.at(-1)?.address.split(':')[1]);
    await expect(start({ port })).rejects.toMatchObject({
      code: 'temporal.start-failed',
      message: expect.stringMatching(
        new RegExp(`in use.*process ${started.at(-1)?.pid} holds it \\(.*start-dev`),
      ),
    });
  });

  test('asked for its migrations before there was one, says so', async () => {
    const env = { TEMPORAL_ADDRESS: started.at(-1)?.address };
    const listed = await runCli(['list'], { env });
    expect(listed).toMatchObject({ code: 0, stderr: '' });
    expect(listed.stdout.toString()).toMatch(/^no migrations/);
  });
});

test('a program that is not there fails to start at once, by name', async () => {
  const bin = join(scratch, 'absent');
  const failing = startTemporalServer({ bin, dbFile: join(scratch, 'unused.db') });
  await expect(failing).rejects.toMatchObject({
    code: 'temporal.start-failed',
    message: expect.stringContaining('ENOENT'),
  });
});
