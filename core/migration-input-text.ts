/** The text whose digest tells one migration's input from another's. Pure. */
import { canonicalJson } from './canonical-json.ts';

const notMeant = ['requestedBy', 'standalone', 'contractVersion'];

/** Canonical JSON, without who asked, who answers for it, and by which release. */
export function migrationInputText(input: Readonly<Record<string, unknown>>): string {
  const meant = Object.entries(input).filter(([key]) => !notMeant.includes(key));
  return canonicalJson(Object.fromEntries(meant));
}
