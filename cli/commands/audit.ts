/** `quorumshift audit verify|list|export`: who did what, and whether the trail is whole. */
import { once } from 'node:events';

import { InvalidArgumentError, type Command } from 'commander';
import pc from 'picocolors';

import type { AuditHead } from '../../control/audit-chain.ts';
import type { AuditFilter } from '../../control/audit-table.ts';
import {
  auditLines,
  parseHead,
  verifyExport,
  verifyStore,
} from '../../control/audit-verification.ts';
import { fail } from '../../core/errors.ts';
import { addApiOption, byApi, type ConnectionOptions } from '../connection.ts';
import {
  addControlStoreOptions,
  controlDirOf,
  withControlStore,
  type ControlStoreOptions,
} from '../control-store-options.ts';
import { oneLine, outputOption, parseCount, print, toJson, type OutputFormat } from '../output.ts';
import { textTable } from '../text-table.ts';

interface FilterOptions extends ControlStoreOptions, AuditFilter {}

interface ListOptions extends FilterOptions, ConnectionOptions {
  readonly limit: number;
  readonly output: OutputFormat;
}

interface VerifyOptions extends ControlStoreOptions {
  readonly file?: string;
  readonly expect?: AuditHead;
  readonly output: OutputFormat;
}

export function addAudit(program: Command): void {
  const audit = program
    .command('audit')
    .description('the audit trail of the control plane')
    .addHelpText('after', '\nExample:\n  quorumshift audit verify');
  addControlStoreOptions(audit.command('verify'))
    .description('check that no line was altered, removed, added or moved')
    .option('--file <file>', 'an export, instead of the store')
    .option(
      '--expect <seq:hash>',
      'a head that was kept elsewhere: the only thing that shows a trail written wholly anew',
      parseExpected,
    )
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift audit verify --file audit.jsonl')
    .action(verify);
  addApiOption(addFilters(audit.command('list')))
    .description('its lines, newest first')
    .option('--limit <count>', 'at most so many', parseLimit, 50)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift audit list --subject cluster/kv')
    .action(list);
  addFilters(audit.command('export'))
    .description('its lines as JSON, oldest first; "verify --file" takes a whole export')
    .addHelpText('after', '\nExample:\n  quorumshift audit export > audit.jsonl')
    .action(exportLines);
}

function addFilters(command: Command): Command {
  return addControlStoreOptions(command)
    .option('--subject <subject>', 'such as cluster/kv, and what lies below: replica/kv')
    .option('--by <who>', 'of this one')
    .option('--action <action>', 'of this kind')
    .option('--since <time>', 'from then on: 2026-07-01, 2026-07-01T10:00Z', parseTime)
    .option('--until <time>', 'before then', parseTime);
}

function filterOf({ subject, by, action, since, until }: FilterOptions): AuditFilter {
  return {
    ...(subject !== undefined && { subject }),
    ...(by !== undefined && { by }),
    ...(action !== undefined && { action }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  };
}

async function verify(options: VerifyOptions): Promise<void> {
  const { file, expect = null } = options;
  const verdict =
    file === undefined
      ? await withControlStore(options, { create: false }, (store) => verifyStore(store, expect))
      : await verifyExport(file, expect);
  const { ok, lines, head, problem } = verdict;
  if (problem !== null) {
    throw fail('audit.broken', { place: file ?? (await controlDirOf(options)), reason: problem });
  }
  const shown = `${head.seq}:${head.hash}`;
  print(options.output, { t: 'audit', ok, lines, head: shown }, () =>
    [
      `${pc.green('ok')}  ${lines} lines follow each other`,
      `head: ${shown}`,
      'keep the head elsewhere: "--expect" holds the trail against it later',
    ].join('\n'),
  );
}

async function list(options: ListOptions): Promise<void> {
  const { limit } = options;
  const filter = filterOf(options);
  const plane = byApi(options);
  const lines =
    plane === null
      ? await withControlStore(options, { create: false }, (store) =>
          store.audit.page({ ...filter, limit, newestFirst: true }),
        )
      : await plane.auditLines(filter, limit);
  if (options.output === 'jsonl') {
    for (const line of lines) process.stdout.write(`${toJson(line)}\n`);
    return;
  }
  print(options.output, { t: 'audit', lines }, () =>
    textTable([
      ['line', 'at', 'by', 'action', 'subject', 'outcome', 'reason'],
      ...lines.map(({ seq, at, by, action, subject, outcome, reason }) => [
        String(seq),
        at.slice(0, 19).replace('T', ' '),
        by,
        action,
        subject,
        outcome ?? '-',
        oneLine(reason),
      ]),
    ]),
  );
}

async function exportLines(options: FilterOptions): Promise<void> {
  await withControlStore(options, { create: false }, async (store) => {
    for await (const line of auditLines(store, filterOf(options))) {
      if (!process.stdout.write(`${JSON.stringify(line)}\n`)) await once(process.stdout, 'drain');
    }
  });
}

function parseLimit(text: string): number {
  const limit = parseCount(text);
  if (limit < 1 || limit > 1000) throw new InvalidArgumentError('must be 1 to 1000');
  return limit;
}

function parseTime(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('must be a time such as 2026-07-01T10:00Z');
  return new Date(ms).toISOString();
}

function parseExpected(text: string): AuditHead {
  const head = parseHead(text);
  if (head === null) throw new InvalidArgumentError('must be as "verify" prints it: <seq>:<hash>');
  return head;
}
