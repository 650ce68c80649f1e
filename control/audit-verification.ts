/** Whether the audit trail is whole, in the store or as it was exported. */
import { open } from 'node:fs/promises';

import { AuditChain, type AuditHead, type AuditLine } from './audit-chain.ts';
import type { AuditFilter } from './audit-table.ts';
import type { ControlStore } from './control-store.ts';

const pageLines = 1000;

export interface AuditVerdict {
  readonly ok: boolean;
  /** Lines that follow each other from the first. */
  readonly lines: number;
  /** Of the last of them. Kept elsewhere, it shows later whether all was written anew. */
  readonly head: AuditHead;
  /** Null when nothing is wrong. */
  readonly problem: string | null;
}

/** All lines, oldest first, without holding them. */
export async function* auditLines(
  store: ControlStore,
  filter: AuditFilter = {},
): AsyncGenerator<AuditLine> {
  for (let after = 0; ;) {
    const page = await store.audit.page({ ...filter, after, limit: pageLines });
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.seq;
  }
}

/**
 * Follows the store's chain from its first line, and holds its end against `audit.head`, and
 * against a head that was kept elsewhere. What is appended meanwhile is no problem.
 */
export async function verifyStore(
  store: ControlStore,
  expected: AuditHead | null = null,
): Promise<AuditVerdict> {
  const { loss, kept } = await store.audit.ends();
  const verdict = await verifyChain(auditLines(store), expected);
  if (!verdict.ok) return verdict;
  if (loss !== null) return { ...verdict, ok: false, problem: loss };
  if (kept.seq === 0 && verdict.lines > 0) {
    return { ...verdict, ok: false, problem: 'audit.head is missing, or cannot be read' };
  }
  return verdict;
}

/** The same of an export, JSON lines. @throws Error with the file system's own reason */
export async function verifyExport(
  file: string,
  expected: AuditHead | null = null,
): Promise<AuditVerdict> {
  return verifyChain(parsedLines(file), expected);
}

async function* parsedLines(path: string): AsyncGenerator {
  const file = await open(path, 'r');
  try {
    for await (const line of file.readLines()) yield parsedOrNull(line);
  } finally {
    await file.close();
  }
}

function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function verifyChain(
  lines: AsyncIterable<unknown>,
  expected: AuditHead | null,
): Promise<AuditVerdict> {
  const chain = new AuditChain();
  let asExpected = expected === null;
  for await (const line of lines) {
    if (!chain.add(line)) break;
    if (chain.head.seq === expected?.seq) asExpected = chain.head.hash === expected.hash;
  }
  const { head, broken } = chain;
  const found = { lines: head.seq, head };
  if (broken !== null) {
    return { ...found, ok: false, problem: `line ${broken.line}: ${broken.reason}` };
  }
  if (asExpected) return { ...found, ok: true, problem: null };
  const problem = `line ${expected?.seq ?? 0} is not the one that was kept elsewhere, or not there`;
  return { ...found, ok: false, problem };
}

/** `<seq>:<hash>`, as it is printed; null for other text. */
export function parseHead(text: string): AuditHead | null {
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  return seq === undefined || hash === undefined ? null : { seq: Number(seq), hash };
}
