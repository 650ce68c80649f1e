/**
 * The chain of audit lines. Each line carries `seq`, counted from 1, the hash of the line before
 * (64 zeros in the first) and its own: SHA-256, hexadecimal, over the canonical JSON of all its
 * fields but the hash. So a line altered, removed, added or moved shows; a chain that was cut off
 * or written anew as a whole shows only against a hash that was kept elsewhere.
 */
import { createHash } from 'node:crypto';

import { z } from 'zod';

import { canonicalJson } from '../core/canonical-json.ts';

const auditLineSchema = z.strictObject({
  seq: z.number().int().min(1),
  id: z.string(),
  /** When it was written, by the clock of whoever wrote it: ISO 8601, UTC. */
  at: z.string(),
  by: z.string(),
  /** Of the token that was used; null for workflows and for the command line. */
  role: z.string().nullable(),
  action: z.string(),
  subject: z.string(),
  reason: z.string(),
  digests: z.array(z.string()),
  /** Of a line that tells how an operation ended. */
  outcome: z.string().nullable(),
  previous: z.string(),
  hash: z.string(),
});

export type AuditLine = z.infer<typeof auditLineSchema>;

/** What a line tells: without its place in the chain. */
export type AuditFact = Omit<AuditLine, 'seq' | 'at' | 'previous' | 'hash'>;

export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
}

/** Of an empty chain. */
export const emptyHead: AuditHead = { seq: 0, hash: '0'.repeat(64) };

export function lineAfter(head: AuditHead, fact: AuditFact, at: Date): AuditLine {
  const line = { ...fact, seq: head.seq + 1, at: at.toISOString(), previous: head.hash };
  return { ...line, hash: hashOf(line) };
}

function hashOf(line: Omit<AuditLine, 'hash'>): string {
  return createHash('sha256').update(canonicalJson(line)).digest('hex');
}

/** Follows a chain, line by line. */
export class AuditChain {
  #head = emptyHead;
  #broken: { readonly line: number; readonly reason: string } | null = null;

  /** The last line that follows. */
  get head(): AuditHead {
    return this.#head;
  }

  /** The first line that does not, counted from 1. */
  get broken(): { readonly line: number; readonly reason: string } | null {
    return this.#broken;
  }

  /** @returns whether the line follows; nothing follows one that does not */
  add(given: unknown): boolean {
    if (this.#broken !== null) return false;
    const reason = this.#faultOf(given);
    if (reason === null) return true;
    this.#broken = { line: this.#head.seq + 1, reason };
    return false;
  }

  #faultOf(given: unknown): string | null {
    const parsed = auditLineSchema.safeParse(given);
    if (!parsed.success) return 'it is no audit line';
    const { hash, ...line } = parsed.data;
    const { seq } = this.#head;
    if (line.seq !== seq + 1) return `it is numbered ${line.seq}, not ${seq + 1}`;
    if (line.previous !== this.#head.hash) return 'it does not follow the line before it';
    if (hashOf(line) !== hash) return 'what it says is not what its hash was made of';
    this.#head = { seq: line.seq, hash };
    return null;
  }
}
