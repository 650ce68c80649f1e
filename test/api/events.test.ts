import { get, type IncomingMessage } from 'node:http';

import fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { EventStreams } from '../../api/event-stream.ts';
import { limits } from '../../api/limits.ts';
import { eventually, MigrationEnvironment } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { ApiProcess } from './api-process.ts';

describe.skipIf(missing('temporal'))('streams of events', () => {
  let environment: MigrationEnvironment;
  let api: ApiProcess;

  beforeAll(async () => {
    const temporal = await sharedTemporal();
    environment = await MigrationEnvironment.create(temporal);
    api = await ApiProcess.start(temporal);
    const source = await environment.unpack('node-killed', 'a');
    await Promise.all([environment.start('control'), environment.start('agent')]);
    const target = environment.uri('rocksdb', 'b');
    await environment.client.start(
      environment.input({ source, target, policy: { approval: 'manual' } }),
    );
  });

  afterAll(async () => {
    await api.close();
    await environment.close();
  });

  const path = () =>
    `/v1/migrations/${environment.replica.cluster}/${environment.replica.member}/events`;

  const open = async (options: { readonly token?: string; readonly last?: string } = {}) => {
    const { token, last } = options;
    const response = await api.open('GET', path(), {
      ...(token !== undefined && { token }),
      ...(last !== undefined && { headers: { 'last-event-id': last } }),
    });
    return new Reader(response);
  };

  test('the newest state comes at once, then each change; who has it is told nothing twice', async () => {
    const reader = await open();
    expect(reader.response.headers.get('content-type')).toBe('text/event-stream');
    const waiting = await reader.until(({ state }) => state.status?.waiting?.kind === 'approval');
    const again = await open({ last: waiting.id });
    await environment.client.pause(environment.replica);
    // Of what it had seen nothing comes before the change.
    const first = await again.next();
    expect(first?.id).not.toBe(waiting.id);
    expect(first?.state.status?.paused).toBe(true);
    expect((await reader.until(({ state }) => state.status?.paused === true)).id).toBe(first?.id);
    await reader.close();
    await again.close();
  });

  test('nobody is told of a replica that does not migrate', async () => {
    expect((await api.problem('GET', '/v1/migrations/kv/nobody/events')).status).toBe(404);
  });

  test('a token that is revoked ends its stream before the next state', async () => {
    const token = await api.token('view');
    const reader = await open({ token });
    await reader.next();
    await api.store.tokens.revoke((await api.store.tokens.verify(token))?.id ?? '');
    await environment.client.resume(environment.replica);
    expect(await reader.next()).toBe(null);
  });

  test('ended in order, the server ends its streams; a client that comes back goes on', async () => {
    const reader = await open();
    const seen = await reader.next();
    expect(await api.end('SIGTERM')).toBe(0);
    await reader.rest();
    expect(reader.broken).toBe(false);
    await api.run();
    await environment.client.abandon(environment.replica, 'enough');
    const last = await open(seen === null ? {} : { last: seen.id });
    const ended = await last.until(({ state }) => state.run !== 'running');
    await last.rest();
    // A browser comes back until it is told that nothing more will come.
    const after = await api.open('GET', path(), { headers: { 'last-event-id': ended.id } });
    expect(after.status).toBe(204);
  });
});

describe('back-pressure', () => {
  test('a client that takes nothing costs one state, and gets the newest when it reads again', async () => {
    // States of 4 MiB: more than the sockets of both sides hold.
    const padding = 'x'.repeat(4 * 1024 * 1024);
    let reads = 0;
    const streams = new EventStreams();
    const app = fastify();
    app.get('/', async (request, reply) => {
      await streams.serve(request, reply, {
        subject: 'one',
        read: async () => ({ state: { reads: (reads += 1), padding }, ended: false }),
        allowed: async () => true,
        by: 'one',
      });
      return reply;
    });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    try {
      const response = await stalled(url);
      await eventually('the subject to be read some times', async () => reads >= 5);
      const told: number[] = [];
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        const event = /"reads":(\d+)[^]*?\n\n/.exec(text);
        if (event === null) return;
        told.push(Number(event[1]));
        text = text.slice(event.index + event[0].length);
      });
      response.resume();
      await eventually('a newest state', async () => told.some((seen) => seen >= 5));
      // What it had not taken in between was never kept.
      expect(told.filter((seen) => seen < 5).length).toBeLessThanOrEqual(2);
      response.destroy();
      await eventually('the stream to be given up', async () => streams.size === 0);
      // Another one stands still to its end, and does not keep its place.
      const before = reads;
      await stalled(url);
      await eventually('its states to be read', async () => reads >= before + 4);
      streams.close();
      await eventually('it to be given up, too', async () => streams.size === 0);
    } finally {
      streams.close();
      await app.close();
    }
  });

  test('streams that are asked for all at once are counted, and none takes those of others', async () => {
    let answer = (): void => {};
    const asked = new Promise<void>((resolve) => (answer = resolve));
    const streams = new EventStreams();
    const app = fastify();
    app.get<{ Params: { by: string } }>('/:by', async (request, reply) => {
      await streams.serve(request, reply, {
        subject: 'one',
        read: async () => {
          await asked;
          return { state: {}, ended: false };
        },
        allowed: async () => true,
        by: request.params.by,
      });
      return reply;
    });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    try {
      const refused: string[] = [];
      const opened: string[] = [];
      const ask = (by: string) =>
        stalled(`${url}/${by}`).then(({ statusCode }) => {
          (statusCode === 200 ? opened : refused).push(by);
        });
      const own = Array.from({ length: limits.streamsOfOne + 10 }, () => ask('a'));
      await eventually('those beyond its own to be refused', async () => refused.length === 10);
      const others = limits.streams - limits.streamsOfOne + 10;
      const rest = Array.from({ length: others }, (_, i) => ask(`b${i}`));
      await eventually('those beyond all to be refused', async () => refused.length === 20);
      answer();
      await Promise.all([...own, ...rest]);
      expect(opened.length).toBe(limits.streams);
      expect(streams.size).toBe(limits.streams);
    } finally {
      streams.close();
      await app.close();
    }
    await eventually('their places to be given back', async () => streams.size === 0);
  });
});

interface Told {
  readonly id: string;
  readonly state: {
    readonly run: string;
    readonly status: { readonly paused: boolean; readonly waiting: { kind: string } | null } | null;
  };
}

class Reader {
  readonly response: Response;
  broken = false;
  readonly #blocks: AsyncGenerator<string>;

  constructor(response: Response) {
    this.response = response;
    this.#blocks = this.#read();
  }

  /** The next state; null at the end. */
  async next(): Promise<Told | null> {
    for (;;) {
      const { value, done } = await this.#blocks.next();
      if (done === true) return null;
      const id = /^id: (.+)$/m.exec(value)?.[1];
      const data = /^data: (.+)$/m.exec(value)?.[1];
      if (id !== undefined && data !== undefined) return { id, state: JSON.parse(data) };
    }
  }

  async until(wanted: (told: Told) => boolean): Promise<Told> {
    for (let told = await this.next(); told !== null; told = await this.next()) {
      if (wanted(told)) return told;
    }
    throw new Error('the stream ended before');
  }

  async rest(): Promise<void> {
    while ((await this.next()) !== null);
  }

  async close(): Promise<void> {
    await this.#blocks.return(undefined);
  }

  async *#read(): AsyncGenerator<string> {
    let rest = '';
    try {
      for await (const text of this.response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        const blocks = (rest + text).split('\n\n');
        rest = blocks.pop() ?? '';
        yield* blocks;
      }
    } catch {
      this.broken = true;
    }
  }
}

/** A connection whose other side reads nothing before it is told to. */
async function stalled(url: string) {
  const response = await new Promise<IncomingMessage>((answered, reject) => {
    get(url, answered).once('error', reject);
  });
  response.pause();
  return response;
}
