/** An audit trail as its commands show it: whole, and followed from its first line. */
import { expect } from 'vitest';

import type { AuditLine } from '../../control/audit-chain.ts';
import { runCli } from '../cli/run-cli.ts';

/** The lines of one subject, in their order; the whole trail is verified before. */
export async function auditLines(controlDir: string, subject: string): Promise<AuditLine[]> {
  const env = { QUORUMSHIFT_CONTROL_DIR: controlDir };
  const verified = await runCli(['audit', 'verify'], { env });
  expect(verified.code, verified.stderr).toBe(0);
  const exported = await runCli(['audit', 'export', '--subject', subject], { env });
  expect(exported.code, exported.stderr).toBe(0);
  const lines = exported.stdout.toString('utf8').split('\n');
  return lines.filter((line) => line !== '').map((line): AuditLine => JSON.parse(line));
}

/** `<action> by <who>: <reason>`, as far as it is no JSON. */
export function told({ action, by, reason }: AuditLine): string {
  return `${action} by ${by}: ${reason.replace(/; policy .*$/, '')}`;
}
