/**
 * The store worker: runs the activities of the control plane's own store, and sends its notices.
 * One process or several, all on the machine where the store's directory is.
 */
import { Worker, type NativeConnection } from '@temporalio/worker';

import { createStoreActivities } from '../activities/store-activities.ts';
import { openControlStore } from '../control/control-store.ts';
import { NoticeSender } from '../control/notice-sender.ts';
import { storeTaskQueue } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { ControlConfig } from '../schemas/control-config.ts';
import { connectClient } from './temporal-connection.ts';
import { drain } from './drain.ts';

/** Most wait for the disk, one after the other; some ask the server. */
const concurrentActivities = 32;

/** A fleet's rollout has some ten activities a second here. */
const pollers = { type: 'simple-maximum', maximum: 4 } as const;

/** What is under way may end before the process does. */
const shutdownGrace = '5s';

export interface StoreWorker {
  /** Resolves when it has drained, and the store is closed; rejects when it failed. */
  run(): Promise<void>;
  shutdown(): void;
}

/** @throws `store.unusable`, `temporal.unavailable` */
export async function createStoreWorker(options: {
  readonly connection: NativeConnection;
  readonly address: string;
  readonly namespace: string;
  readonly config: ControlConfig;
  readonly log: Log;
  /** Another queue than the product's, for tests. */
  readonly taskQueue?: string;
}): Promise<StoreWorker> {
  const { connection, namespace, config, log } = options;
  const { notify } = config;
  const client = await connectClient(options);
  const store = await openControlStore(config).catch(async (error: unknown) => {
    await client.connection.close();
    throw error;
  });
  const close = async () => {
    await client.connection.close();
    await store.close();
  };
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: options.taskQueue ?? storeTaskQueue,
      activities: createStoreActivities({ store, client, notifies: notify !== null }),
      activityTaskPollerBehavior: pollers,
      maxConcurrentActivityTaskExecutions: concurrentActivities,
      shutdownGraceTime: shutdownGrace,
    });
    const sender = notify === null ? null : new NoticeSender({ store, notify, log });
    log(`the control plane's store is in ${config.controlDir}`);
    return {
      run: async () => {
        sender?.start();
        try {
          await worker.run();
        } finally {
          await sender?.stop();
          await close();
        }
      },
      shutdown: () => drain(worker),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
