import { request } from 'node:http';
import { text } from 'node:stream/consumers';

import { describe, expect, test } from 'vitest';

import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { runCli } from '../cli/run-cli.ts';
import { makeHostPlace, startHost, type HostPlace } from './host-process.ts';
import { started } from './hosts-of-a-test.ts';
import { appendMessage, openReplica, WriteStream } from './host-session.ts';

async function replica(place: HostPlace, ...args: readonly string[]) {
  const { code, stdout } = await runCli(['replica', ...args, '--socket', place.adminSocket]);
  return { code, said: stdout.toString('utf8') };
}

function scraped(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    asked.once('error', reject);
    asked.end();
  });
}

/** The value of one series. */
function valueOf(body: string, series: string): number {
  const line = body.split('\n').find((found) => found.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? Number.NaN);
}

describe('what a host tells of itself', () => {
  test('metrics on a socket: appends with their latency, sessions, syncs, the mirror, refusals', async () => {
    const settings = (directory: string) => ({
      metrics: { socket: `${directory}/metrics.sock` },
      replicas: [
        { cluster: 'kv', member: 'n1', uri: `local://${directory}/n1`, create: true },
        { cluster: 'kv', member: 'n2', uri: `local://${directory}/n2`, create: false },
      ],
    });
    const place = await makeHostPlace({}, settings);
    const { client } = await started(place);
    const { epoch } = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', epoch);
    const append = (index: bigint) =>
      stream.until(stream.send(appendMessage(index - 1n, entriesOf(index, index))));
    for (let index = 1n; index <= 20n; index += 1n) await append(index);
    const mirror = `sqlite://${place.directory}/b`;
    expect((await replica(place, 'mirror', 'kv/n1', mirror)).code).toBe(0);
    for (let index = 21n; index <= 30n; index += 1n) await append(index);

    const { status, body } = await scraped(`${place.directory}/metrics.sock`, '/metrics');
    const of = (name: string, labels = '') => valueOf(body, `quorumshift_host_${name}${labels}`);
    expect(status).toBe(200);
    expect(of('append_seconds_count', '{replica="kv/n1"}')).toBe(30);
    expect(of('append_seconds_sum', '{replica="kv/n1"}')).toBeGreaterThan(0);
    expect(of('appended_entries_total', '{replica="kv/n1"}')).toBe(30);
    expect(of('replica_served', '{replica="kv/n1"}')).toBe(1);
    expect(of('replica_served', '{replica="kv/n2"}')).toBe(0);
    expect(of('replica_dual', '{replica="kv/n1"}')).toBe(1);
    expect(of('open_sessions')).toBe(1);
    expect(of('write_streams')).toBe(1);
    expect(of('file_syncs_total')).toBeGreaterThan(30);
    expect(of('event_loop_delay_seconds', '{quantile="0.99"}')).toBeGreaterThanOrEqual(0);
    for (const kind of ['append', 'primary', 'mirror']) {
      const labels = `{replica="kv/n1",of="${kind}",quantile="0.99"}`;
      expect(of('recent_seconds', labels)).toBeGreaterThan(0);
    }
    expect((await scraped(`${place.directory}/metrics.sock`, '/')).status).toBe(404);

    const { said } = await replica(place, 'show', 'kv/n1');
    expect(said).toMatch(/^append +p50 \d+\.\d ms, p99 \d+\.\d ms/m);
    expect(said).toMatch(/^on mirror +p99 \d+\.\d ms, \d+\.\d ms longer/m);
    expect(said).toMatch(/^session +a client has it open/m);
    expect(await stream.end()).toBeNull();
  });

  test('nothing is served unless it is asked for; a port that is taken is named', async () => {
    const place = await makeHostPlace({ n1: 'memory' });
    await started(place);
    await expect(scraped(`${place.directory}/metrics.sock`, '/metrics')).rejects.toThrow('ENOENT');
    const other = await makeHostPlace({ n1: 'memory' }, () => ({
      metrics: { socket: `${place.directory}/admin.sock` },
    }));
    await expect(startHost(other)).rejects.toThrow('another host listens on this socket');
  });
});
