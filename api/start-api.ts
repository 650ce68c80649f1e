/** The API as a process runs it: connected, listening, and ended in order. */
import type { AddressInfo } from 'node:net';

import type { ControlStore } from '../control/control-store.ts';
import { fail, messageOf } from '../core/errors.ts';
import type { ApiConfig } from '../schemas/control-config.ts';
import { connectClient, type TemporalTarget } from '../worker/temporal-connection.ts';
import { createApiServer } from './api-server.ts';

export interface RunningApi {
  readonly url: string;
  /** Ends streams, waits for changes under way, and lets go of Temporal; the store stays open. */
  close(): Promise<void>;
}

/** @throws `temporal.unavailable`; `usage.invalid` where it must not, or cannot, listen */
export async function startApi(options: {
  readonly target: TemporalTarget;
  readonly store: ControlStore;
  readonly config: ApiConfig;
}): Promise<RunningApi> {
  const { target, store, config } = options;
  const { authentication, listen, requestsPerMinute: perMinute } = config;
  const place = placeOf(listen);
  if (authentication === 'off' && !isLoopback(place.host)) {
    const reason = `without tokens the API listens on the loopback interface alone: not on ${listen}`;
    throw fail('usage.invalid', { reason });
  }
  const temporal = await connectClient(target);
  // What another process left unfinished is found again by its ids, when it is asked for again.
  await store.operations.resolveLeft();
  const { address } = target;
  const { app } = await createApiServer({ temporal, address, store, authentication, perMinute });
  const close = async (): Promise<void> => {
    await app.close();
    await temporal.connection.close();
  };
  try {
    await app.listen(place);
  } catch (cause) {
    await close();
    const says = messageOf(cause);
    const reason = `the API cannot listen on ${listen}: ${says}`;
    throw fail('usage.invalid', { reason }, { cause });
  }
  const { port } = app.server.address() as AddressInfo;
  return { url: `http://${listen.replace(/\d+$/, String(port))}`, close };
}

/** Of `<host>:<port>`, as the configuration's schema has checked it. */
function placeOf(listen: string): { readonly host: string; readonly port: number } {
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(listen.slice(at + 1)) };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
