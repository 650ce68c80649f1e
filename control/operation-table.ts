/**
 * What HTTP requests with an `Idempotency-Key` have led to: the same principal, key and payload get
 * the same answer for a day.
 */
import { count, countOrNull, text, textOrNull, type ControlTables } from './control-tables.ts';

export type OperationState =
  /** It is the caller's to run, and to `finish`. */
  | { readonly kind: 'fresh' }
  | { readonly kind: 'in-progress' }
  | { readonly kind: 'other-payload' }
  | { readonly kind: 'recorded'; readonly status: number; readonly body: string };

export interface FoundOperation {
  readonly payload: string;
  /** Milliseconds since 1970. */
  readonly begunAt: number;
  /** Null: it has not ended. */
  readonly body: string | null;
}

export interface OperationName {
  /** Token id, or whoever asks without one. */
  readonly principal: string;
  readonly key: string;
}

/** Answers with this status or a higher one do not stand for ever. */
const firstRetried = 500;

const keptMs = 24 * 60 * 60 * 1000;

/** A request that is this old without an end has none: its process was killed, or has given up. */
const longestMs = 5 * 60 * 1000;

export class OperationTable {
  readonly #tables: ControlTables;
  /** Tells this process's operations from those of one that is gone. */
  readonly #runner: string;

  constructor(tables: ControlTables, runner: string) {
    this.#tables = tables;
    this.#runner = runner;
  }

  /** Durable before it answers `fresh`. */
  begin({ principal, key, payload }: OperationName & { readonly payload: string }): OperationState {
    return this.#tables.change(() => {
      const now = Date.now();
      this.#tables.run('DELETE FROM operation WHERE begun_at < ?', now - keptMs);
      const row = this.#tables.one(
        'SELECT * FROM operation WHERE principal = ? AND key = ?',
        principal,
        key,
      );
      if (row !== null && text(row, 'payload') !== payload) return { kind: 'other-payload' };
      const status = row === null ? null : countOrNull(row, 'status');
      // How far it came that failed for want of a server or an agent nobody knows: it is run again.
      if (row !== null && status !== null && status < firstRetried) {
        return { kind: 'recorded', status, body: textOrNull(row, 'body') ?? '' };
      }
      const young = row !== null && now - count(row, 'begun_at') < longestMs;
      if (status === null && young) return { kind: 'in-progress' };
      this.#tables.run(
        `INSERT OR REPLACE INTO operation(principal, key, payload, begun_at, runner)
           VALUES (?, ?, ?, ?, ?)`,
        principal,
        key,
        payload,
        now,
        this.#runner,
      );
      return { kind: 'fresh' };
    });
  }

  /** What is known of one; null where it was never begun, or is forgotten. */
  find({ principal, key }: OperationName): FoundOperation | null {
    const row = this.#tables.one(
      'SELECT * FROM operation WHERE principal = ? AND key = ?',
      principal,
      key,
    );
    if (row === null) return null;
    return {
      payload: text(row, 'payload'),
      begunAt: count(row, 'begun_at'),
      body: textOrNull(row, 'body'),
    };
  }

  /** The answer that the same request gets from now on. */
  finish(
    { principal, key }: OperationName,
    { status, body }: { readonly status: number; readonly body: string },
  ): void {
    this.#tables.run(
      'UPDATE operation SET status = ?, body = ? WHERE principal = ? AND key = ? AND runner = ?',
      status,
      body,
      principal,
      key,
      this.#runner,
    );
  }

  /** Of a request that led to nothing and may be sent again with its key. */
  forget({ principal, key }: OperationName): void {
    this.#tables.run(
      'DELETE FROM operation WHERE principal = ? AND key = ? AND runner = ? AND status IS NULL',
      principal,
      key,
      this.#runner,
    );
  }

  /**
   * Lets those be sent again that a process before this one left in the middle. For whoever serves
   * requests alone over this store, at its start: what was begun is found by its ids again.
   * @returns how many there were
   */
  resolveLeft(): number {
    return this.#tables.run(
      'DELETE FROM operation WHERE status IS NULL AND runner <> ?',
      this.#runner,
    );
  }
}
