/** Watches and steers fleets' rollouts through the HTTP API. */
import type { Accepted } from '../../workflows/messages.ts';
import type { Fleets } from '../control-plane.ts';
import type { FleetListing, FleetReport } from '../fleet-client.ts';
import type { WatchOptions } from '../watch-runs.ts';
import type { OperationOptions } from '../workflow-calls.ts';
import { ApiConnection, type ApiPlace } from './api-connection.ts';

export class HttpFleetClient implements Fleets {
  readonly #api: ApiConnection;

  constructor(place: ApiPlace) {
    this.#api = new ApiConnection(place);
  }

  async status(fleet: string): Promise<FleetReport> {
    const params = { path: { fleet } };
    const asked = this.#api.calls.GET('/v1/fleets/{fleet}', { params });
    // What a workflow of an earlier release leaves out may be missing, as in the one that it asks.
    return (await this.#api.answered(asked)) as FleetReport;
  }

  /** As often as the server sees a change, whatever `intervalMs`. */
  watch(fleet: string, { signal }: WatchOptions): AsyncGenerator<FleetReport> {
    return this.#api.events(`/v1/fleets/${fleet}/events`, signal);
  }

  async list({ limit }: { readonly limit: number }): Promise<FleetListing[]> {
    return this.#api.listed(limit, (query) =>
      this.#api.calls.GET('/v1/fleets', { params: { query } }),
    );
  }

  pause(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/fleets/{fleet}/pause', { path: { fleet }, options });
  }

  resume(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/fleets/{fleet}/resume', { path: { fleet }, options });
  }

  approve(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/fleets/{fleet}/approve', { path: { fleet }, options });
  }

  throttle(
    fleet: string,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    const body = { bytesPerSecond };
    return this.#api.wish('/v1/fleets/{fleet}/throttle', { path: { fleet }, body, options });
  }

  stop(fleet: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    const body = { reason };
    return this.#api.wish('/v1/fleets/{fleet}/stop', { path: { fleet }, body, options });
  }

  skip(fleet: string, cluster: string, options?: OperationOptions): Promise<Accepted> {
    const body = { cluster };
    return this.#api.wish('/v1/fleets/{fleet}/skip', { path: { fleet }, body, options });
  }

  rollback(fleet: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    const body = { reason };
    return this.#api.wish('/v1/fleets/{fleet}/rollback', { path: { fleet }, body, options });
  }

  complete(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/fleets/{fleet}/complete', { path: { fleet }, options });
  }
}
