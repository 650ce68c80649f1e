/** The API as a process runs it: connected, listening, and ended in order. */
import type { AddressInfo } from 'node:net';

import type { ControlStore } from '../control/control-store.ts';
import { fail } from '../core/errors.ts';
import { connectClient, type TemporalTarget } from '../worker/temporal-connection.ts';
import { createApiServer, type ApiServerOptions } from './api-server.ts';

export interface ApiPlace {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
}

export interface RunningApi {
  readonly url: string;
  /** Ends streams, waits for changes under way, and lets go of Temporal; the store stays open. */
  close(): Promise<void>;
}

/** @throws `temporal.unavailable`; `usage.invalid` where it must not, or cannot, listen */
export async function startApi(
  options: Pick<ApiServerOptions, 'authentication' | 'perMinute' | 'logLevel'> & {
    readonly target: TemporalTarget;
    readonly store: ControlStore;
    readonly place: ApiPlace;
  },
): Promise<RunningApi> {
  const { target, store, place, ...rest } = options;
  requireProtection(place, rest.authentication);
  const temporal = await connectClient(target);
  // What another process left unfinished is found again by its ids, when it is asked for again.
  await store.operations.resolveLeft();
  const { app } = await createApiServer({ temporal, address: target.address, store, ...rest });
  const close = async (): Promise<void> => {
    await app.close();
    await temporal.connection.close();
  };
  try {
    await app.listen(place);
  } catch (cause) {
    await close();
    const says = cause instanceof Error ? cause.message : String(cause);
    const reason = `the API cannot listen on ${placeText(place)}: ${says}`;
    throw fail('usage.invalid', { reason }, { cause });
  }
  const { port } = app.server.address() as AddressInfo;
  return { url: `http://${placeText({ host: place.host, port })}`, close };
}

/** @throws `usage.invalid` */
function requireProtection(place: ApiPlace, authentication: 'tokens' | 'off'): void {
  if (authentication === 'tokens' || isLoopback(place.host)) return;
  throw fail('usage.invalid', {
    reason: `without tokens the API listens on the loopback interface alone: not on ${place.host}`,
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function placeText({ host, port }: ApiPlace): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
