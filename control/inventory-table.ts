/** The inventory that counts now, and those before it: who gave which, and when. */
import { Blake3Hasher } from '@napi-rs/blake-hash';

import { canonicalJson } from '../core/canonical-json.ts';
import { assert } from '../core/errors.ts';
import { count, text, type ControlTables, type Row } from './control-tables.ts';
import type { DeclaredInventory } from './inventory-file.ts';

export interface InventoryRevision {
  /** Counted from 1. */
  readonly revision: number;
  /** BLAKE3 of its canonical JSON. */
  readonly digest: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly by: string;
}

export interface StoredInventory extends InventoryRevision {
  readonly inventory: DeclaredInventory;
}

const columns = 'revision, digest, at, by';
const mostRevisions = 1000;

export class InventoryTable {
  readonly #tables: ControlTables;

  constructor(tables: ControlTables) {
    this.#tables = tables;
  }

  /** Makes it the present one, durably; the same as the present one makes no new revision. */
  put(inventory: DeclaredInventory, by: string): InventoryRevision {
    const content = canonicalJson(inventory);
    const digest = inventoryDigest(inventory);
    const revision = this.#tables.change(() => {
      const [last] = this.history({ limit: 1 });
      if (last?.digest === digest) return last;
      const next = {
        revision: (last?.revision ?? 0) + 1,
        digest,
        at: new Date().toISOString(),
        by,
      };
      this.#tables.run(
        `INSERT INTO inventory(${columns}, content) VALUES (?, ?, ?, ?, ?)`,
        next.revision,
        digest,
        next.at,
        by,
        content,
      );
      return next;
    });
    this.#tables.syncLog();
    return revision;
  }

  /** Null before the first. */
  current(): StoredInventory | null {
    return stored(this.#tables.one('SELECT * FROM inventory ORDER BY revision DESC LIMIT 1'));
  }

  at(revision: number): StoredInventory | null {
    return stored(this.#tables.one('SELECT * FROM inventory WHERE revision = ?', revision));
  }

  /** Newest first, below `before` where it is given. */
  history(request: { readonly limit: number; readonly before?: number }): InventoryRevision[] {
    const { limit, before = Number.MAX_SAFE_INTEGER } = request;
    assert(limit >= 1 && limit <= mostRevisions, `a page has 1 to ${mostRevisions} revisions`);
    const rows = this.#tables.all(
      `SELECT ${columns} FROM inventory WHERE revision < ? ORDER BY revision DESC LIMIT ?`,
      before,
      limit,
    );
    return rows.map(revisionOf);
  }
}

/** As a revision is known by. */
export function inventoryDigest(inventory: DeclaredInventory): string {
  return new Blake3Hasher().update(Buffer.from(canonicalJson(inventory))).digest('hex');
}

function stored(row: Row | null): StoredInventory | null {
  if (row === null) return null;
  return {
    ...revisionOf(row),
    inventory: JSON.parse(text(row, 'content')) as DeclaredInventory,
  };
}

function revisionOf(row: Row): InventoryRevision {
  return {
    revision: count(row, 'revision'),
    digest: text(row, 'digest'),
    at: text(row, 'at'),
    by: text(row, 'by'),
  };
}
