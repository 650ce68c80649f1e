/** Plans, starts, watches and steers clusters' rollouts through the HTTP API. */
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import type { Accepted } from '../../workflows/messages.ts';
import type { ClusterPlan } from '../../workflows/plan-cluster.ts';
import type { ClusterListing, ClusterReportSeen, StartedRollout } from '../cluster-client.ts';
import type { Clusters } from '../control-plane.ts';
import type { WatchOptions } from '../watch-runs.ts';
import type { OperationOptions } from '../workflow-calls.ts';
import { ApiConnection, keyHeader, type ApiPlace } from './api-connection.ts';

export class HttpClusterClient implements Clusters {
  readonly #api: ApiConnection;

  constructor(place: ApiPlace) {
    this.#api = new ApiConnection(place);
  }

  async start(input: ClusterRollout): Promise<StartedRollout> {
    const asked = this.#api.calls.POST('/v1/clusters', {
      params: { header: keyHeader() },
      body: bodyOf(input),
    });
    return (await this.#api.done(asked)) as StartedRollout;
  }

  async plan(input: ClusterRollout): Promise<ClusterPlan> {
    const asked = this.#api.calls.POST('/v1/clusters', {
      params: { header: keyHeader(), query: { dryRun: 'true' } },
      body: bodyOf(input),
    });
    return (await this.#api.done(asked)) as ClusterPlan;
  }

  async status(cluster: string): Promise<ClusterReportSeen> {
    const params = { path: { cluster } };
    const asked = this.#api.calls.GET('/v1/clusters/{cluster}', { params });
    // What a workflow of an earlier release leaves out may be missing, as in the one that it asks.
    return (await this.#api.answered(asked)) as ClusterReportSeen;
  }

  /** As often as the server sees a change, whatever `intervalMs`. */
  watch(cluster: string, { signal }: WatchOptions): AsyncGenerator<ClusterReportSeen> {
    return this.#api.events(`/v1/clusters/${cluster}/events`, signal);
  }

  async list({ limit }: { readonly limit: number }): Promise<ClusterListing[]> {
    return this.#api.listed(limit, (query) =>
      this.#api.calls.GET('/v1/clusters', { params: { query } }),
    );
  }

  pause(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/clusters/{cluster}/pause', { path: { cluster }, options });
  }

  resume(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/clusters/{cluster}/resume', { path: { cluster }, options });
  }

  approve(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/clusters/{cluster}/approve', { path: { cluster }, options });
  }

  throttle(
    cluster: string,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    const body = { bytesPerSecond };
    return this.#api.wish('/v1/clusters/{cluster}/throttle', { path: { cluster }, body, options });
  }

  skip(cluster: string, member: string, options?: OperationOptions): Promise<Accepted> {
    const body = { member };
    return this.#api.wish('/v1/clusters/{cluster}/skip', { path: { cluster }, body, options });
  }

  rollback(
    cluster: string,
    given: { readonly member: string | null; readonly reason: string },
    options?: OperationOptions,
  ): Promise<Accepted> {
    const body = given;
    return this.#api.wish('/v1/clusters/{cluster}/rollback', { path: { cluster }, body, options });
  }

  complete(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/clusters/{cluster}/complete', { path: { cluster }, options });
  }

  abandon(cluster: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    const body = { reason };
    return this.#api.wish('/v1/clusters/{cluster}/abandon', { path: { cluster }, body, options });
  }
}

/** Its members are those of the present inventory. */
function bodyOf({ cluster, rolloutId, policy }: ClusterRollout) {
  return { cluster, rolloutId, policy };
}
