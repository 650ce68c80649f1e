/** Which notices have been sent: each once, whoever asks again. */
import { count, countOrNull, type ControlTables } from './control-tables.ts';

/** A notice that was never sent may be asked for again until then; after it, it is forgotten. */
const keptMs = 30 * 24 * 60 * 60 * 1000;

export class NoticeTable {
  readonly #tables: ControlTables;

  constructor(tables: ControlTables) {
    this.#tables = tables;
  }

  /** Counts an attempt. @returns false when it has been sent, or tried `most` times, already */
  begin(id: string, most: number): boolean {
    return this.#tables.change(() => {
      const now = Date.now();
      this.#tables.run('DELETE FROM notice WHERE at < ?', now - keptMs);
      const row = this.#tables.one('SELECT attempts, sent_at FROM notice WHERE id = ?', id);
      if (row === null) {
        this.#tables.run('INSERT INTO notice(id, at, attempts) VALUES (?, ?, 1)', id, now);
        return true;
      }
      if (countOrNull(row, 'sent_at') !== null || count(row, 'attempts') >= most) return false;
      this.#tables.run('UPDATE notice SET attempts = attempts + 1 WHERE id = ?', id);
      return true;
    });
  }

  sent(id: string): void {
    this.#tables.run('UPDATE notice SET sent_at = ?, failure = NULL WHERE id = ?', Date.now(), id);
  }

  failed(id: string, failure: string): void {
    this.#tables.run('UPDATE notice SET failure = ? WHERE id = ?', failure.slice(0, 1000), id);
  }
}
