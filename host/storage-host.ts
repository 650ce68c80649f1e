/**
 * The storage host: a process that keeps the durable state of many replicas for the Raft processes
 * of its machine, over gRPC on a unix socket. It knows nothing of Temporal.
 */
import { chmod, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { setDefaultHighWaterMark } from 'node:stream';

import { Server, ServerCredentials } from '@grpc/grpc-js';

import { fail, messageOf } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { adminSocketOf, type HostConfig } from '../schemas/host-config.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { isErrno } from '../storage/files.ts';
import { storageHostAdminCalls } from './admin-calls.ts';
import { HostActivity } from './host-activity.ts';
import { HostedReplicas, type HostedReplica } from './hosted-replicas.ts';
import { maxWriteBytes, storageHostCalls } from './host-calls.ts';
import type { HostMetrics } from './host-metrics.ts';
import { StorageHostService } from './proto/gen/storage_host.ts';
import { StorageHostAdminService } from './proto/gen/storage_host_admin.ts';
import { digestElsewhere } from './restart-check.ts';
import { ServedReplica } from './served-replica.ts';

/** Beyond the entries: names, metadata, framing. */
const messageOverheadBytes = 1024 * 1024;
/**
 * Of a call, beyond those that are asked for or taken by the client: one may have 64 MiB, and Node
 * would hold sixteen for each call.
 */
const bufferedMessages = 2;
/** How far the watermark may lie behind. */
const advanceEveryMs = 1000;

export interface StorageHostOptions {
  readonly config: HostConfig;
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly log: Log;
  /** How long one replica that stands still keeps the others waiting; absent: 10 s. */
  readonly patienceMs?: number;
}

export class StorageHost {
  readonly #servers: readonly Server[];
  readonly #hosted: HostedReplicas;
  readonly #advancing: NodeJS.Timeout;
  readonly #config: HostConfig;
  readonly #activity: HostActivity;
  readonly #metrics: HostMetrics | null;

  readonly #log: Log;

  private constructor(
    { config, log }: StorageHostOptions,
    running: {
      servers: readonly Server[];
      hosted: HostedReplicas;
      activity: HostActivity;
      metrics: HostMetrics | null;
    },
  ) {
    this.#config = config;
    this.#log = log;
    this.#servers = running.servers;
    this.#hosted = running.hosted;
    this.#activity = running.activity;
    this.#metrics = running.metrics;
    this.#advancing = setInterval(() => this.#advance(), advanceEveryMs);
  }

  /**
   * Opens every replica of the configuration, then listens. One that cannot be served safely is
   * refused alone: its calls answer why. So is one whose disk does not answer, until it does.
   * @throws `config.invalid` when another host listens on a socket
   */
  static async start(options: StorageHostOptions): Promise<StorageHost> {
    const { config, families, log, patienceMs } = options;
    const { socket, socketMode, adminSocketMode } = config;
    const adminSocket = adminSocketOf(config);
    for (const path of [socket, adminSocket, ...metricsSocketOf(config)]) await freeSocket(path);
    const { idleMs, most } = config.snapshotStreams;
    const activity = new HostActivity({ mostSnapshotStreams: most });
    const metrics = await newMetrics(config);
    const files = activity.counting(options.files);
    const { stateDir } = config;
    const given = replicaOptions({ ...options, files }, metrics);
    const places = { files, families, stateDir, log, replicas: given };
    const hosted = await HostedReplicas.open({ ...places, patienceMs });
    const replicas = hosted.all;
    const clients = newServer();
    clients.addService(StorageHostService, storageHostCalls({ replicas, activity, idleMs }));
    const admin = newServer();
    const { appendGuard } = config;
    admin.addService(
      StorageHostAdminService,
      storageHostAdminCalls({ hosted, families, activity, appendGuard }),
    );
    if (config.metrics !== null) await metrics?.listen(config.metrics, { replicas, activity });
    await listen(admin, { path: adminSocket, mode: adminSocketMode });
    await listen(clients, { path: socket, mode: socketMode });
    return new StorageHost(options, { servers: [clients, admin], hosted, activity, metrics });
  }

  /**
   * Takes no new call, finishes what was given, closes every replica.
   * @returns those that did not come to their end: the process is to be ended without them
   */
  async stop(): Promise<readonly string[]> {
    clearInterval(this.#advancing);
    const stopped = this.#servers.map(
      (server) => new Promise<void>((resolve) => server.tryShutdown(() => resolve())),
    );
    const late = await this.#hosted.close();
    for (const name of late) {
      this.#log(`${name} was not closed: its disk has not answered`, { replica: name }, 'error');
    }
    for (const server of this.#servers) server.forceShutdown();
    await Promise.all(stopped);
    await this.#metrics?.stop();
    this.#activity.stop();
    const { socket } = this.#config;
    for (const path of [socket, adminSocketOf(this.#config), ...metricsSocketOf(this.#config)]) {
      await rm(path, { force: true });
    }
    return late;
  }

  #advance(): void {
    for (const served of this.#hosted.all.values()) {
      // A watermark that lies behind is safe; what keeps it there shows at the next mutation.
      if (served instanceof ServedReplica) served.advanceWatermark().catch(() => {});
    }
  }
}

function newServer(): Server {
  // The calls of grpc-js are Node's object streams, and take no other bound.
  setDefaultHighWaterMark(true, bufferedMessages);
  return new Server({
    'grpc.max_receive_message_length': maxWriteBytes + messageOverheadBytes,
    'grpc.max_send_message_length': maxWriteBytes + messageOverheadBytes,
  });
}

function metricsSocketOf({ metrics }: HostConfig): readonly string[] {
  return metrics !== null && 'socket' in metrics ? [metrics.socket] : [];
}

/** Null unless they are asked for: prom-client is loaded then alone. */
async function newMetrics({ metrics }: HostConfig): Promise<HostMetrics | null> {
  if (metrics === null) return null;
  const { HostMetrics: Metrics } = await import('./host-metrics.ts');
  return new Metrics();
}

/** What each replica of the configuration is served with. */
function replicaOptions(
  { config, files, families, log }: StorageHostOptions,
  metrics: HostMetrics | null,
): HostedReplica[] {
  const { stateDir, onMirrorFailure: onFailure, mirrorLimitMs: limitMs, slowMirror: slow } = config;
  const policy = { onFailure, limitMs, slow };
  const { fullValidationEverySeconds } = config;
  const by = `storage host (pid ${process.pid})`;
  return config.replicas.map(({ cluster, member, uri, create }) => {
    const replica = { cluster, member };
    const appended = metrics?.appendsOf(replicaText(replica));
    const watched = appended === undefined ? {} : { appended };
    const options = () => {
      const uris = typeof uri === 'string' ? families.expand(uri) : uri;
      const shared = { policy, fullValidationEverySeconds, digestElsewhere, by, log, ...watched };
      return { files, families, stateDir, replica, uris, create, ...shared };
    };
    return { replica, options };
  });
}

/** Only the socket's owner may connect, from its first moment on. */
async function listen(
  server: Server,
  { path, mode }: { readonly path: string; readonly mode: string },
): Promise<void> {
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  } catch (cause) {
    const reason = messageOf(cause);
    throw fail(
      'config.invalid',
      { file: path, reason: `cannot listen there: ${reason}` },
      { cause },
    );
  } finally {
    process.umask(mask);
  }
  await chmod(path, Number.parseInt(mode, 8));
}

/** A socket that a killed host left is removed; one that answers is another host's. */
async function freeSocket(path: string): Promise<void> {
  const state = await new Promise<'answers' | 'dead' | 'absent'>((resolve, reject) => {
    const connection = createConnection(path);
    connection.once('connect', () => {
      connection.destroy();
      resolve('answers');
    });
    connection.once('error', (error) => {
      if (isErrno(error, 'ENOENT')) resolve('absent');
      else if (isErrno(error, 'ECONNREFUSED')) resolve('dead');
      else reject(error);
    });
  });
  if (state === 'answers') {
    throw fail('config.invalid', { file: path, reason: 'another host listens on this socket' });
  }
  if (state === 'dead') await rm(path);
}
