/**
 * Who asks, and what they may do. A route says the least role that it takes, or that it is public;
 * one that says nothing takes nobody, and a test finds it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';

import { roles, type Role } from '../control/token-table.ts';
import { fail } from '../core/errors.ts';

/** Who asked; recorded in the audit trail and in workflows. */
export interface Principal {
  /** The token's id. */
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** For {@link Tokens.verify}, again; null where no token is asked for. */
  readonly secret: string | null;
}

export type RouteRole = Role | 'public';

export interface Tokens {
  verify(secret: string): Promise<Omit<Principal, 'secret'> | null>;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly role?: RouteRole;
  }
  interface FastifyRequest {
    principal: Principal | null;
  }
}

/** Where authentication is off: loopback alone, and whoever asks may do everything. */
const anyone: Principal = { id: 'none', name: 'unauthenticated', role: 'admin', secret: null };

/** Longer than any token. */
const secretPattern = /^Bearer ([A-Za-z0-9_-]{1,200})$/i;

export class Authentication {
  readonly #tokens: Tokens | null;

  /** Null: whoever reaches the server may do everything. */
  constructor(tokens: Tokens | null) {
    this.#tokens = tokens;
  }

  /** Notes who asks; refuses nobody yet, so that the rate is limited first. */
  readonly identify = async (request: FastifyRequest): Promise<void> => {
    request.principal = await this.#principalOf(request.headers.authorization);
  };

  /** @throws `auth.refused`, `auth.role` */
  readonly authorize = async (request: FastifyRequest, _reply: FastifyReply): Promise<void> => {
    const { role: required } = request.routeOptions.config;
    if (required === 'public') return;
    const { principal } = request;
    if (principal === null) throw fail('auth.refused', {});
    if (required !== undefined && allows(principal.role, required)) return;
    throw fail('auth.role', {
      action: `${request.method} ${request.routeOptions.url ?? request.url}`,
      required: required ?? 'none',
      actual: principal.role,
    });
  };

  /** Whether the token still counts: for streams, which outlive their requests' checks. */
  async stillAllowed({ secret }: Principal): Promise<boolean> {
    if (this.#tokens === null || secret === null) return true;
    return (await this.#tokens.verify(secret)) !== null;
  }

  async #principalOf(header: string | undefined): Promise<Principal | null> {
    if (this.#tokens === null) return anyone;
    const secret = secretPattern.exec(header ?? '')?.[1];
    if (secret === undefined) return null;
    const found = await this.#tokens.verify(secret);
    return found === null ? null : { id: found.id, name: found.name, role: found.role, secret };
  }
}

export function allows(given: Role, required: Role): boolean {
  return roles.indexOf(given) >= roles.indexOf(required);
}

/** As workflows and the audit trail record it. */
export function identityOf({ id, name }: Principal): string {
  return id === anyone.id ? name : `${name} (token ${id})`;
}

/** Of a request that was authorized. @throws `auth.refused` */
export function principalOf({ principal }: FastifyRequest): Principal {
  if (principal === null) throw fail('auth.refused', {});
  return principal;
}
