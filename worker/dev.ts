/**
 * Everything in one process tree: a Temporal server, the control worker, the store worker and this
 * machine's agent.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { Log } from '../core/log.ts';
import type { AgentConfig } from '../schemas/agent-config.ts';
import { controlConfigSchema, type ControlConfig } from '../schemas/control-config.ts';
import { agentContext, createAgentWorkers, type AgentWorkers } from './agent-worker.ts';
import { createControlWorker } from './control-worker.ts';
import { drain } from './drain.ts';
import { createStoreWorker } from './store-worker.ts';
import type { TemporalTarget } from './temporal-connection.ts';
import { connectWorker } from './worker-connection.ts';
import { resolveTemporalServer } from './temporal-server-source.ts';
import { findLeftServer, startTemporalServer } from './temporal-server.ts';

export interface DevEnvironment extends TemporalTarget {
  /** Where the web UI is; null for a server that somebody else runs. */
  readonly uiUrl: string | null;
  /** Resolves when everything has ended; rejects when a worker failed. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export interface DevOptions {
  readonly config: AgentConfig;
  readonly log: Log;
  /** False: without the agent, which runs as a process of its own. */
  readonly agent?: boolean;
  /** Absent: a store in the agent's state directory, and no notices. */
  readonly control?: ControlConfig;
  /** Absent: free ones. */
  readonly port?: number;
  readonly uiPort?: number;
}

/** Its store lies in the agent's state directory. */
export function devControlConfig({ stateDir }: AgentConfig): ControlConfig {
  return controlConfigSchema.parse({ controlDir: join(stateDir, 'control') });
}

/** @throws `temporal.no-server`, `temporal.start-failed`, `temporal.unavailable` */
export async function startDev(options: DevOptions): Promise<DevEnvironment> {
  const server = await startServer(options);
  try {
    return await startWorkers(server, options);
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function startWorkers(
  server: RunningServer,
  { config, log, agent, control: controlConfig }: DevOptions,
): Promise<DevEnvironment> {
  const connection = await connectWorker(server, log);
  const { address, namespace } = server;
  const control = await createControlWorker({ connection, namespace });
  const store = await createStoreWorker({
    connection,
    address,
    namespace,
    config: controlConfig ?? devControlConfig(config),
    log,
  });
  const workers: Pick<AgentWorkers, 'run' | 'shutdown'>[] = [
    { run: () => control.run(), shutdown: () => drain(control) },
    store,
  ];
  if (agent !== false) {
    const context = await agentContext(config, log);
    workers.push(await createAgentWorkers({ connection, address, namespace, context }));
    log(`agent ${context.agentId} of machine ${config.host} is ready`);
  }
  const ended = Promise.all(workers.map((worker) => worker.run())).then(() => {});
  return {
    address: server.address,
    namespace,
    uiUrl: server.uiUrl,
    ended,
    stop: async () => {
      for (const worker of workers) worker.shutdown();
      await ended.catch(() => {});
      await connection.close();
      await server.stop();
    },
  };
}

interface RunningServer extends TemporalTarget {
  readonly uiUrl: string | null;
  stop(): Promise<void>;
}

async function startServer(options: DevOptions): Promise<RunningServer> {
  const { config, log, port, uiPort } = options;
  const found = await resolveTemporalServer({
    env: process.env,
    external: true,
    install: true,
    log,
  });
  if (found.kind === 'external') {
    log(`using the Temporal server at ${found.address} (${found.foundBy})`);
    return { address: found.address, namespace: 'default', uiUrl: null, stop: async () => {} };
  }
  await mkdir(config.stateDir, { recursive: true });
  const dbFile = join(config.stateDir, `temporal-${found.serverVersion}.db`);
  const left = port === undefined ? null : await findLeftServer({ dbFile, port });
  if (left !== null) {
    const { pid, address, uiUrl } = left;
    log(
      `using the Temporal server of process ${pid}, which a dev before left here; it stays when this one ends ("kill ${pid}" ends it)`,
    );
    return { address, namespace: 'default', uiUrl, stop: async () => {} };
  }
  return startTemporalServer({
    bin: found.binary,
    dbFile,
    ...(port !== undefined && { port }),
    ...(uiPort !== undefined && { uiPort }),
  });
}
