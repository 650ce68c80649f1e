/** Starts, watches and steers migrations through the HTTP API. */
import { randomUUID } from 'node:crypto';

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
import { ApiConnection, type ApiPlace } from './api-connection.ts';

/** Most of one page. */
const pageItems = 200;

export class HttpMigrationClient implements Migrations {
  readonly #api: ApiConnection;

  constructor(place: ApiPlace) {
    this.#api = new ApiConnection(place);
  }

  async start(input: MigrationInput, options?: OperationOptions): Promise<StartedMigration> {
    const { calls } = this.#api;
    const params = { header: keyOf(options) };
    const asked = calls.POST('/v1/migrations', { params, body: bodyOf(input) });
    return (await this.#api.done(asked)) as StartedMigration;
  }

  async plan(input: MigrationInput): Promise<PlanAnswer> {
    const params = { header: keyOf() };
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
    const { calls } = this.#api;
    const found: MigrationListing[] = [];
    let cursor: string | null = null;
    do {
      const query = {
        limit: Math.min(limit - found.length, pageItems),
        ...(cursor !== null && { cursor }),
      };
      const page: { readonly items: MigrationListing[]; readonly next: string | null } =
        await this.#api.answered(calls.GET('/v1/migrations', { params: { query } }));
      found.push(...page.items);
      cursor = page.next;
    } while (cursor !== null && found.length < limit);
    return found;
  }

  pause(replica: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/pause', { params, body: {} }),
    );
  }

  resume(replica: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/resume', { params, body: {} }),
    );
  }

  approve(replica: ReplicaName, proof: ProofName, options?: OperationOptions): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    const body = { proof: { ...proof } };
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/approve', { params, body }),
    );
  }

  throttle(
    replica: ReplicaName,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    const body = { bytesPerSecond };
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/throttle', { params, body }),
    );
  }

  rollback(replica: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    const body = { reason };
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/rollback', { params, body }),
    );
  }

  cancelRollback(
    replica: ReplicaName,
    reason: string,
    options?: OperationOptions,
  ): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    const body = { reason };
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/cancel-rollback', { params, body }),
    );
  }

  complete(replica: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/complete', { params, body: {} }),
    );
  }

  abandon(replica: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    const params = steering(replica, options);
    const { calls } = this.#api;
    const body = { reason };
    return this.#api.done(
      calls.POST('/v1/migrations/{cluster}/{member}/abandon', { params, body }),
    );
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

function steering(path: ReplicaName, options?: OperationOptions) {
  return { path, header: keyOf(options) };
}

function keyOf(options?: OperationOptions) {
  return { 'idempotency-key': options?.operationId ?? randomUUID() };
}
