/**
 * Notices that are to be sent: each once, whoever asks again, tried a bounded number of times. A
 * process that dies between sending one and writing that down sends it again: receivers know it by
 * its id.
 */
import { count, text, type ControlTables, type Row } from './control-tables.ts';

export interface StoredNotice {
  readonly id: string;
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
  /** ISO 8601, UTC. */
  readonly at: string;
}

/** After a day of failures nobody reads it as news any more. */
const waitsMs = [1_000, 5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 21_600_000] as const;

/** While one process sends it, no other does, unless that one has died. */
const sendingMs = 120_000;

/** Sent ones are known again for so long. */
const keptMs = 30 * 24 * 60 * 60 * 1000;

export class NoticeTable {
  readonly #tables: ControlTables;

  constructor(tables: ControlTables) {
    this.#tables = tables;
  }

  /** Durable when it returns; the same id is put once. */
  put(notice: Omit<StoredNotice, 'at'>): void {
    const { id, kind, subject } = notice;
    const now = Date.now();
    this.#tables.change(() => {
      this.#tables.run('DELETE FROM notice WHERE at < ?', now - keptMs);
      this.#tables.run(
        `INSERT INTO notice(id, at, kind, subject, text, attempts, due_at)
           VALUES (?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING`,
        id,
        now,
        kind,
        subject,
        notice.text,
        now,
      );
    });
  }

  /** The next one that is due, which is this caller's to send; null when there is none. */
  take(): StoredNotice | null {
    const now = Date.now();
    const due = 'SELECT * FROM notice WHERE due_at <= ? ORDER BY due_at, id LIMIT 1';
    // Asked again and again: without a change while nothing is due.
    if (this.#tables.one(due, now) === null) return null;
    return this.#tables.change(() => {
      const row = this.#tables.one(due, now);
      if (row === null) return null;
      this.#tables.run(
        'UPDATE notice SET attempts = attempts + 1, due_at = ? WHERE id = ?',
        now + sendingMs,
        text(row, 'id'),
      );
      return noticeOf(row);
    });
  }

  sent(id: string): void {
    this.#tables.run('UPDATE notice SET due_at = NULL, failure = NULL WHERE id = ?', id);
  }

  /** It is tried again later, or given up. @returns in how many milliseconds; null: never */
  failed(id: string, failure: string): number | null {
    return this.#tables.change(() => {
      const row = this.#tables.one('SELECT attempts FROM notice WHERE id = ?', id);
      const waitMs = row === null ? null : (waitsMs[count(row, 'attempts') - 1] ?? null);
      this.#tables.run(
        'UPDATE notice SET due_at = ?, failure = ? WHERE id = ?',
        waitMs === null ? null : Date.now() + waitMs,
        failure.slice(0, 1000),
        id,
      );
      return waitMs;
    });
  }
}

function noticeOf(row: Row): StoredNotice {
  return {
    id: text(row, 'id'),
    kind: text(row, 'kind'),
    subject: text(row, 'subject'),
    text: text(row, 'text'),
    at: new Date(count(row, 'at')).toISOString(),
  };
}
