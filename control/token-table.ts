/**
 * API tokens: `qs_` and 32 random bytes in base64url. Only their SHA-256 is stored: of a secret
 * with 256 random bits it gives nothing away, and a slow hash would add nothing.
 */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';

import { assert, fail } from '../core/errors.ts';
import { count, countOrNull, text, type ControlTables, type Row } from './control-tables.ts';

export const roles = ['view', 'operate', 'approve', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Times in milliseconds since 1970. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly createdAt: number;
  readonly createdBy: string;
  /** Null: never. */
  readonly expiresAt: number | null;
  /** To about a minute. */
  readonly lastUsedAt: number | null;
  readonly revokedAt: number | null;
}

/** A use is written down again after so long: a request must not cost a write. */
const lastUsedMs = 60_000;

const secretPattern = /^qs_[A-Za-z0-9_-]{43}$/;

const columns =
  'id, name, role, created_at, created_by, expires_at, last_used_at, revoked_at, hash';

export class TokenTable {
  readonly #tables: ControlTables;

  constructor(tables: ControlTables) {
    this.#tables = tables;
  }

  /** The secret is in this answer, and nowhere else. @throws `token.exists` */
  create(given: {
    readonly name: string;
    readonly role: Role;
    readonly createdBy: string;
    readonly expiresAt: number | null;
  }): { readonly secret: string; readonly token: TokenInfo } {
    const secret = `qs_${randomBytes(32).toString('base64url')}`;
    const { name, role, createdBy, expiresAt } = given;
    return this.#tables.change(() => {
      if (this.#active(name) !== null) {
        throw fail('token.exists', { name, actual: 'another one has it' });
      }
      const id = randomUUID();
      this.#tables.run(
        `INSERT INTO token(id, name, hash, role, created_at, created_by, expires_at)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        id,
        name,
        hashOf(secret),
        role,
        Date.now(),
        createdBy,
        expiresAt,
      );
      const row = this.#tables.one(`SELECT ${columns} FROM token WHERE id = ?`, id);
      assert(row !== null, 'a token that was written is there');
      return { secret, token: infoOf(row) };
    });
  }

  /** Newest first; revoked ones too. */
  list(): TokenInfo[] {
    const rows = this.#tables.all(`SELECT ${columns} FROM token ORDER BY created_at DESC, id`);
    return rows.map(infoOf);
  }

  /** By name, or by id. From its return on no process takes the token. @throws `token.unknown` */
  revoke(nameOrId: string): TokenInfo {
    return this.#tables.change(() => {
      const byId = this.#tables.one(`SELECT ${columns} FROM token WHERE id = ?`, nameOrId);
      const row = byId ?? this.#active(nameOrId);
      if (row === null) throw fail('token.unknown', { action: 'revoke', name: nameOrId });
      const revokedAt = countOrNull(row, 'revoked_at') ?? Date.now();
      this.#tables.run('UPDATE token SET revoked_at = ? WHERE id = ?', revokedAt, text(row, 'id'));
      return { ...infoOf(row), revokedAt };
    });
  }

  /** Whose secret it is; null for none, and for one that has expired or was revoked. */
  verify(secret: string): TokenInfo | null {
    if (!secretPattern.test(secret)) return null;
    const hash = hashOf(secret);
    const row = this.#tables.one(`SELECT ${columns} FROM token WHERE hash = ?`, hash);
    if (row === null) return null;
    // The index has compared hashes, of which time tells nothing that leads to a secret.
    if (!timingSafeEqual(Buffer.from(hash), Buffer.from(text(row, 'hash')))) return null;
    const token = infoOf(row);
    const now = Date.now();
    if (token.revokedAt !== null || (token.expiresAt !== null && token.expiresAt <= now)) {
      return null;
    }
    if (token.lastUsedAt !== null && now - token.lastUsedAt < lastUsedMs) return token;
    this.#tables.run('UPDATE token SET last_used_at = ? WHERE id = ?', now, token.id);
    return { ...token, lastUsedAt: now };
  }

  #active(name: string): Row | null {
    const sql = `SELECT ${columns} FROM token WHERE name = ? AND revoked_at IS NULL`;
    return this.#tables.one(sql, name);
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function infoOf(row: Row): TokenInfo {
  const role = roles.find((known) => known === row['role']);
  assert(role !== undefined, 'a token has a known role');
  return {
    id: text(row, 'id'),
    name: text(row, 'name'),
    role,
    createdAt: count(row, 'created_at'),
    createdBy: text(row, 'created_by'),
    expiresAt: countOrNull(row, 'expires_at'),
    lastUsedAt: countOrNull(row, 'last_used_at'),
    revokedAt: countOrNull(row, 'revoked_at'),
  };
}
