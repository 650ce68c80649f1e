import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import Database from 'libsql';
import { describe, expect, test } from 'vitest';

import { openControlStore } from '../../control/control-store.ts';
import { withStore } from './open-store.ts';

const given = { name: 'ci', role: 'operate', createdBy: 'alice', expiresAt: null } as const;

describe('API tokens', () => {
  test('a token is taken until it is revoked, at once, by whichever process', () =>
    withStore(async (store, controlDir) => {
      const { secret, token } = await store.tokens.create(given);
      expect(secret).toMatch(/^qs_[A-Za-z0-9_-]{43}$/);
      const other = await openControlStore({ controlDir });
      expect(await other.tokens.verify(secret)).toMatchObject({ id: token.id, role: 'operate' });
      expect(await store.tokens.verify(`${secret.slice(0, -2)}AA`)).toBeNull();
      expect(await store.tokens.verify('')).toBeNull();
      await other.tokens.revoke('ci');
      expect(await store.tokens.verify(secret)).toBeNull();
      expect(await store.tokens.list()).toMatchObject([
        { name: 'ci', revokedAt: expect.any(Number) },
      ]);
      await other.close();
    }));

  test('a name has one token; a revoked one frees it', () =>
    withStore(async (store) => {
      const first = await store.tokens.create(given);
      await expect(store.tokens.create(given)).rejects.toMatchObject({ code: 'token.exists' });
      await store.tokens.revoke(first.token.id);
      const second = await store.tokens.create(given);
      expect(await store.tokens.verify(second.secret)).toMatchObject({ id: second.token.id });
      await expect(store.tokens.revoke('none')).rejects.toMatchObject({ code: 'token.unknown' });
      expect(await store.tokens.revoke(first.token.id)).toMatchObject({ id: first.token.id });
    }));

  test('one that has expired is not taken', () =>
    withStore(async (store, controlDir) => {
      const expiresAt = Date.now() + 3_600_000;
      const { secret } = await store.tokens.create({ ...given, expiresAt });
      expect(await store.tokens.verify(secret)).toMatchObject({ expiresAt });
      const database = new Database(join(controlDir, 'control.db'));
      database.exec(`UPDATE token SET expires_at = ${Date.now() - 1}`);
      database.close();
      expect(await store.tokens.verify(secret)).toBeNull();
    }));

  test('its use is written down; its secret is nowhere', () =>
    withStore(async (store, controlDir) => {
      const { secret, token } = await store.tokens.create(given);
      expect(token.lastUsedAt).toBeNull();
      const used = await store.tokens.verify(secret);
      expect(used?.lastUsedAt).toBeGreaterThanOrEqual(token.createdAt);
      expect((await store.tokens.verify(secret))?.lastUsedAt).toBe(used?.lastUsedAt);
      const files = readdirSync(controlDir).map((name) => readFileSync(join(controlDir, name)));
      expect(Buffer.concat(files).includes(secret.slice(3))).toBe(false);
      expect(JSON.stringify(await store.tokens.list())).not.toContain(secret.slice(3));
    }));
});
