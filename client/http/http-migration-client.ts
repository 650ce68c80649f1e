/** Starts, watches and steers migrations through the HTTP API. */
import type { ProofName } from '../../activities/contract.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { MigrationInput } from '../../schemas/migration.ts';
import type { Accepted } from '../../workflows/messages.ts';
import type { PlanAnswer } from '../../workflows/plan-replica.ts';
import type {
  MigrationListing,
  MigrationReport,
  Migrations,
  StartedMigration,
} from '../migrations.ts';
import type { OperationOptions } from '../workflow-calls.ts';
import { ApiConnection, keyHeader, type ApiPlace } from './api-connection.ts';

export class HttpMigrationClient implements Migrations {
  readonly #api: ApiConnection;

  constructor(place: ApiPlace) {
    this.#api = new ApiConnection(place);
  }

  async start(input: MigrationInput, options?: OperationOptions): Promise<StartedMigration> {
    const { calls } = this.#api;
    const params = { header: keyHeader(options) };
    const asked = calls.POST('/v1/migrations', { params, body: bodyOf(input) });
    return (await this.#api.done(asked)) as StartedMigration;
  }

  async plan(input: MigrationInput): Promise<PlanAnswer> {
    const params = { header: keyHeader() };
    const { calls } = this.#api;
    return this.#api.done(calls.POST('/v1/plans', { params, body: bodyOf(input) }));
  }

  async status(replica: ReplicaName): Promise<MigrationReport> {
    const params = { path: replica };
    const { calls } = this.#api;
    return this.#api.answered(calls.GET('/v1/migrations/{cluster}/{member}', { params }));
  }

  /** As often as the server sees a change, whatever `intervalMs`. */
  watch(
    replica: ReplicaName,
    options: { readonly intervalMs: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<MigrationReport> {
    return this.#api.events(`/v1/migrations/${replicaText(replica)}/events`, options.signal);
  }

  async list({ limit }: { readonly limit: number }): Promise<MigrationListing[]> {
    return this.#api.listed(limit, (query) =>
      this.#api.calls.GET('/v1/migrations', { params: { query } }),
    );
  }

  pause(path: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/migrations/{cluster}/{member}/pause', { path, options });
  }

  resume(path: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/migrations/{cluster}/{member}/resume', { path, options });
  }

  approve(path: ReplicaName, proof: ProofName, options?: OperationOptions): Promise<Accepted> {
    const body = { proof: { ...proof } };
    return this.#api.wish('/v1/migrations/{cluster}/{member}/approve', { path, body, options });
  }

  throttle(
    path: ReplicaName,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    const body = { bytesPerSecond };
    return this.#api.wish('/v1/migrations/{cluster}/{member}/throttle', { path, body, options });
  }

  rollback(path: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    const body = { reason };
    return this.#api.wish('/v1/migrations/{cluster}/{member}/rollback', { path, body, options });
  }

  cancelRollback(path: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    const body = { reason };
    const resource = '/v1/migrations/{cluster}/{member}/cancel-rollback';
    return this.#api.wish(resource, { path, body, options });
  }

  complete(path: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    return this.#api.wish('/v1/migrations/{cluster}/{member}/complete', { path, options });
  }

  abandon(path: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    const body = { reason };
    return this.#api.wish('/v1/migrations/{cluster}/{member}/abandon', { path, body, options });
  }
}

/** Who asks, and by which release, the server says itself. */
function bodyOf({
  standalone,
  contractVersion: _release,
  requestedBy: _who,
  ...meant
}: MigrationInput) {
  return { ...meant, standalone: standalone === null ? null : { note: standalone.note } };
}
