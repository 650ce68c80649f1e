/**
 * The search attributes that a migration starts with, as far as the namespace has them: one that is
 * not registered would make the server refuse the start, and nothing rests on them.
 */
import type { Client } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';

import { searchAttributeNames, type SearchAttributeName } from '../core/search-attributes.ts';
import type { MigrationInput } from '../schemas/migration.ts';

/** A server that does not say what is registered within this gets no attributes. */
const describeTimeoutMs = 2_000;

/** Asks one namespace, once. */
export class SearchAttributes {
  readonly #client: Client;
  #registered: Promise<ReadonlySet<string>> | null = null;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Those of `input` that are registered; none where the server does not say. */
  async of({ replica, host }: MigrationInput): Promise<SearchAttributePair[]> {
    return this.pairs({
      QuorumshiftCluster: replica.cluster,
      QuorumshiftMember: replica.member,
      QuorumshiftHost: host,
    });
  }

  /** Ours that are registered, for workflows to set. */
  async ours(): Promise<SearchAttributeName[]> {
    const registered = await this.#known();
    return searchAttributeNames.filter((name) => registered.has(name));
  }

  /** Those of `values` that are registered. */
  async pairs(
    values: Partial<Record<SearchAttributeName, string>>,
  ): Promise<SearchAttributePair[]> {
    const registered = await this.#known();
    return Object.entries(values)
      .filter(([name]) => registered.has(name))
      .map(([name, value]) => ({ key: defineSearchAttributeKey(name, 'KEYWORD'), value }));
  }

  #known(): Promise<ReadonlySet<string>> {
    this.#registered ??= registeredKeywords(this.#client).catch(() => new Set<string>());
    return this.#registered;
  }
}

/** Needs no right beyond those of a reader; a service that hides its operator's API rejects. */
async function registeredKeywords(client: Client): Promise<ReadonlySet<string>> {
  const { namespace } = client.options;
  const { customAttributes } = await client.withDeadline(Date.now() + describeTimeoutMs, () =>
    client.connection.operatorService.listSearchAttributes({ namespace }),
  );
  const names: [string, number][] = Object.entries(customAttributes ?? {});
  return new Set(names.filter(([, type]) => type === keyword).map(([name]) => name));
}

/** `temporal.api.enums.v1.IndexedValueType`. */
const keyword = 2;
