/**
 * The host's metrics, in Prometheus' text format at /metrics: on a port of the loopback interface,
 * or on a unix socket. Nothing of them is served unless the configuration names a place.
 */
import { chmod } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { ListenOptions } from 'node:net';

import {
  Counter,
  Gauge,
  Histogram,
  Registry,
  type CounterConfiguration,
  type GaugeConfiguration,
} from 'prom-client';

import { fail, messageOf } from '../core/errors.ts';
import type { HostConfig } from '../schemas/host-config.ts';
import type { HostActivity } from './host-activity.ts';
import type { ServedReplicas } from './host-calls.ts';
import { ServedReplica } from './served-replica.ts';

const msPerSecond = 1000;
/** Seconds: from a fast disk's sync to what hurts an election. */
const appendBuckets = [5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export type MetricsPlace = NonNullable<HostConfig['metrics']>;

interface Measured {
  readonly replicas: ServedReplicas;
  readonly activity: HostActivity;
}

export class HostMetrics {
  readonly #registry = new Registry();
  readonly #appends: Histogram<'replica'>;
  #server: Server | null = null;

  constructor() {
    this.#appends = new Histogram({
      name: 'quorumshift_host_append_seconds',
      help: 'From taking an append to its acknowledgement',
      labelNames: ['replica'],
      buckets: appendBuckets,
      registers: [this.#registry],
    });
  }

  /** What is told of each append of this replica. */
  appendsOf(replica: string): (ms: number) => void {
    let series: Histogram.Internal<'replica'> | null = null;
    return (ms) => {
      series ??= this.#appends.labels(replica);
      series.observe(ms / msPerSecond);
    };
  }

  /** @throws `config.invalid` when nothing can listen there */
  async listen(place: MetricsPlace, measured: Measured): Promise<void> {
    describe(this.#registry, measured);
    const server = createServer((request, response) => {
      void this.#answer(request.url).then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type });
        response.end(body);
      });
    });
    const at: ListenOptions =
      'port' in place ? { host: '127.0.0.1', port: place.port } : { path: place.socket };
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(at, resolve);
      });
    } catch (cause) {
      const reason = `cannot listen there: ${messageOf(cause)}`;
      throw fail('config.invalid', { file: placeText(place), reason }, { cause });
    } finally {
      process.umask(mask);
    }
    if ('socket' in place) await chmod(place.socket, Number.parseInt(place.mode, 8));
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #answer(url: string | undefined) {
    if (url !== '/metrics') {
      return { status: 404, type: 'text/plain', body: 'There is /metrics here.\n' };
    }
    try {
      const body = await this.#registry.metrics();
      return { status: 200, type: this.#registry.contentType, body };
    } catch (error) {
      return { status: 500, type: 'text/plain', body: `${String(error)}\n` };
    }
  }
}

function placeText(place: MetricsPlace): string {
  return 'port' in place ? `127.0.0.1:${place.port}` : place.socket;
}

/** Both enter the registry that their options name. */
function gauge<Label extends string>(options: GaugeConfiguration<Label>): Gauge<Label> {
  return new Gauge(options);
}

function counter<Label extends string>(options: CounterConfiguration<Label>): Counter<Label> {
  return new Counter(options);
}

/** Read when they are asked for. */
function describe(registry: Registry, { replicas, activity }: Measured): void {
  const registers = [registry];
  const served = () =>
    [...replicas].filter((entry): entry is [string, ServedReplica] => {
      return entry[1] instanceof ServedReplica;
    });
  const whole = (name: string, help: string, value: () => number) =>
    gauge({
      name: `quorumshift_host_${name}`,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  whole(
    'open_sessions',
    'Replicas whose client has a session',
    () => served().filter(([, replica]) => replica.hasSession).length,
  );
  whole('write_streams', 'Streams of writes that are open', () => activity.writeStreams);
  whole('snapshot_streams', 'Snapshots under way, both ways', () => activity.snapshotStreams);
  counter({
    name: 'quorumshift_host_file_syncs_total',
    help: 'fsyncs and synced writes of the file layer; those of RocksDB and SQLite are not among them',
    registers,
    collect() {
      this.reset();
      this.inc(activity.fileSyncs);
    },
  });
  gauge({
    name: 'quorumshift_host_event_loop_delay_seconds',
    help: 'How late the event loop came to its timers, in the last 10 to 20 seconds',
    labelNames: ['quantile'],
    registers,
    collect() {
      const { p50Ms, p99Ms, maxMs } = activity.eventLoopDelay;
      for (const [quantile, ms] of [
        ['0.5', p50Ms],
        ['0.99', p99Ms],
        ['1', maxMs],
      ] as const) {
        this.set({ quantile }, ms / msPerSecond);
      }
    },
  });
  describeReplicas(registers, { replicas, served });
}

function describeReplicas(
  registers: Registry[],
  of: {
    readonly replicas: ServedReplicas;
    readonly served: () => readonly [string, ServedReplica][];
  },
): void {
  gauge({
    name: 'quorumshift_host_replica_served',
    help: '1, or 0 where the replica is refused',
    labelNames: ['replica'],
    registers,
    collect() {
      this.reset();
      for (const [replica, found] of of.replicas) {
        this.set({ replica }, found instanceof ServedReplica ? 1 : 0);
      }
    },
  });
  gauge({
    name: 'quorumshift_host_alarm',
    help: '1 while the replica has it: rollback target lost, primary lost',
    labelNames: ['replica', 'alarm'],
    registers,
    async collect() {
      this.reset();
      for (const [replica, found] of of.served()) {
        const alarm = (await found.store.read())?.former?.alarm;
        if (alarm !== undefined) this.set({ replica, alarm }, 1);
      }
    },
  });
  gauge({
    name: 'quorumshift_host_replica_dual',
    help: '1 where every write goes to a mirror too',
    labelNames: ['replica'],
    registers,
    collect() {
      this.reset();
      for (const [replica, { mirror }] of of.served()) {
        this.set({ replica }, mirror.sides.mirror === null ? 0 : 1);
      }
    },
  });
  counter({
    name: 'quorumshift_host_appended_entries_total',
    help: 'Entries acknowledged',
    labelNames: ['replica'],
    registers,
    collect() {
      this.reset();
      for (const [replica, found] of of.served()) {
        this.inc({ replica }, Number(found.appendedEntries));
      }
    },
  });
  gauge({
    name: 'quorumshift_host_recent_seconds',
    help: 'Percentiles of the last minute: append, its part on the primary and on the mirror, and how much longer the mirror took',
    labelNames: ['replica', 'of', 'quantile'],
    registers,
    collect() {
      this.reset();
      for (const [replica, found] of of.served()) {
        for (const [kind, { count, p50Ms, p99Ms }] of Object.entries(found.latencies())) {
          if (count === 0) continue;
          this.set({ replica, of: kind, quantile: '0.5' }, p50Ms / msPerSecond);
          this.set({ replica, of: kind, quantile: '0.99' }, p99Ms / msPerSecond);
        }
      }
    },
  });
}
