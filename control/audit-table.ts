/** The audit trail: lines that are only ever added, durable before what they tell of is done. */
import { join } from 'node:path';

import { assert, fail } from '../core/errors.ts';
import {
  emptyHead,
  lineAfter,
  type AuditFact,
  type AuditHead,
  type AuditLine,
} from './audit-chain.ts';
import { readAuditHead, writeAuditHead } from './audit-head.ts';
import {
  count,
  text,
  textOrNull,
  type ControlTables,
  type Row,
  type Value,
} from './control-tables.ts';

/** What is not known of a line may be left out: `role` and `outcome` are null then. */
export type AuditAppend = Omit<AuditFact, 'role' | 'outcome' | 'digests'> &
  Partial<Pick<AuditFact, 'role' | 'outcome'>> & { readonly digests: readonly string[] };

export interface AuditFilter {
  readonly by?: string;
  readonly action?: string;
  /** Of this subject, and of what lies below it: `cluster/kv`, `replica/kv` has its members. */
  readonly subject?: string;
  /** ISO 8601: written then or later; before then. */
  readonly since?: string;
  readonly until?: string;
}

export interface AuditPageRequest extends AuditFilter {
  /** Lines after (or, newest first, before) this one. */
  readonly after?: number;
  /** 1 to 1000. */
  readonly limit: number;
  readonly newestFirst?: boolean;
}

const mostLines = 1000;

export class AuditTable {
  readonly #tables: ControlTables;
  readonly #headFile: string;

  constructor(tables: ControlTables, controlDir: string) {
    this.#tables = tables;
    this.#headFile = join(controlDir, 'audit.head');
  }

  /**
   * Appends a line, durable when it returns; the line that has this id already, if it tells the
   * same.
   * @throws `audit.conflict`, `audit.broken`
   */
  append(given: AuditAppend): AuditLine {
    const fact = { role: null, outcome: null, ...given, digests: [...given.digests] };
    const { line, found } = this.#tables.change(() => {
      const written = this.#written(fact);
      return { line: written ?? this.#write(fact), found: written !== null };
    });
    // Where another process wrote it, that one may have died before it, or the head, was durable.
    if (found) this.#tables.syncLog();
    if (readAuditHead(this.#headFile).seq < line.seq) writeAuditHead(this.#headFile, line);
    return line;
  }

  #written(fact: AuditFact): AuditLine | null {
    const row = this.#tables.one('SELECT * FROM audit WHERE id = ?', fact.id);
    if (row === null) return null;
    const line = lineOf(row);
    const same =
      line.by === fact.by &&
      line.action === fact.action &&
      line.subject === fact.subject &&
      line.reason === fact.reason &&
      line.outcome === fact.outcome &&
      JSON.stringify(line.digests) === JSON.stringify(fact.digests);
    if (!same) throw fail('audit.conflict', { id: fact.id, seq: line.seq });
    return line;
  }

  #write(fact: AuditFact): AuditLine {
    const head = this.#head();
    this.#requireWhole(head);
    const line = lineAfter(head, fact, new Date());
    this.#tables.run(
      `INSERT INTO audit(seq, id, at, by, role, action, subject, reason, digests, outcome,
         previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      line.seq,
      line.id,
      line.at,
      line.by,
      line.role,
      line.action,
      line.subject,
      line.reason,
      JSON.stringify(line.digests),
      line.outcome,
      line.previous,
      line.hash,
    );
    return line;
  }

  /** The last line of the database. */
  #head(): AuditHead {
    const row = this.#tables.one('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
    return row === null ? emptyHead : { seq: count(row, 'seq'), hash: text(row, 'hash') };
  }

  /** New lines after a lost end would take the lost ones' numbers, and hide the loss. */
  #requireWhole(head: AuditHead): void {
    const kept = readAuditHead(this.#headFile);
    const reason = this.#lossOf(head, kept);
    if (reason !== null) throw fail('audit.broken', { place: this.#tables.file, reason });
  }

  #lossOf(head: AuditHead, kept: AuditHead): string | null {
    if (kept.seq === 0) return null;
    if (kept.seq > head.seq) {
      return `it ends with line ${head.seq}, but ${this.#headFile} has seen line ${kept.seq}`;
    }
    const row = this.#tables.one('SELECT hash FROM audit WHERE seq = ?', kept.seq);
    if (row !== null && text(row, 'hash') === kept.hash) return null;
    return `its line ${kept.seq} is not the one that ${this.#headFile} has seen`;
  }

  /** How its end stands against the second place; reads only. */
  ends(): { readonly head: AuditHead; readonly kept: AuditHead; readonly loss: string | null } {
    // The file first: what is appended between the two reads is no loss.
    const kept = readAuditHead(this.#headFile);
    const head = this.#head();
    return { head, kept, loss: this.#lossOf(head, kept) };
  }

  /** In the order of the chain, or newest first. */
  page(request: AuditPageRequest): AuditLine[] {
    const { after, limit, newestFirst = false } = request;
    assert(limit >= 1 && limit <= mostLines, `a page has 1 to ${mostLines} lines`);
    const conditions: [string, readonly Value[]][] = filters(request);
    if (after !== undefined) conditions.push([newestFirst ? 'seq < ?' : 'seq > ?', [after]]);
    const where = conditions.map(([sql]) => sql).join(' AND ');
    const rows = this.#tables.all(
      `SELECT * FROM audit ${where === '' ? '' : `WHERE ${where}`}
         ORDER BY seq ${newestFirst ? 'DESC' : 'ASC'} LIMIT ?`,
      ...conditions.flatMap(([, values]) => values),
      limit,
    );
    return rows.map(lineOf);
  }
}

function filters({ by, action, subject, since, until }: AuditFilter): [string, Value[]][] {
  const found: [string, Value[]][] = [];
  if (by !== undefined) found.push(['by = ?', [by]]);
  if (action !== undefined) found.push(['action = ?', [action]]);
  if (subject !== undefined) {
    // "0" follows "/": the range holds what begins with the subject and a slash.
    const below = '(subject = ? OR (subject >= ? AND subject < ?))';
    found.push([below, [subject, `${subject}/`, `${subject}0`]]);
  }
  if (since !== undefined) found.push(['at >= ?', [since]]);
  if (until !== undefined) found.push(['at < ?', [until]]);
  return found;
}

function lineOf(row: Row): AuditLine {
  return {
    seq: count(row, 'seq'),
    id: text(row, 'id'),
    at: text(row, 'at'),
    by: text(row, 'by'),
    role: textOrNull(row, 'role'),
    action: text(row, 'action'),
    subject: text(row, 'subject'),
    reason: text(row, 'reason'),
    digests: digestsOf(text(row, 'digests')),
    outcome: textOrNull(row, 'outcome'),
    previous: text(row, 'previous'),
    hash: text(row, 'hash'),
  };
}

/** Altered by hand it may be anything: then the line is shown with that, and its hash is wrong. */
function digestsOf(stored: string): string[] {
  try {
    const parsed: unknown = JSON.parse(stored);
    if (Array.isArray(parsed) && parsed.every((item) => typeof item === 'string')) return parsed;
    return [stored];
  } catch {
    return [stored];
  }
}
