/** `quorumshift journal`: what was done to a replica of this machine, when, and on whose word. */
import type { Command } from 'commander';

import { fail } from '../../core/errors.ts';
import { parseReplica } from '../../core/ids.ts';
import { readJournal, verifyJournal, type JournalLine } from '../../storage/binding/journal.ts';
import { storeOf } from '../machine-record.ts';
import {
  oneLine,
  outputOption,
  print,
  stateDirOption,
  toJson,
  type OutputFormat,
} from '../output.ts';
import { textTable } from '../text-table.ts';

export function addJournal(program: Command): void {
  program
    .command('journal')
    .description('what was done to a replica on this machine, when, and on whose word')
    .argument('<replica>', '<cluster>/<member>')
    .addOption(stateDirOption())
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift journal kv/n1')
    .action(showJournal);
}

/** @throws `record.missing`; `data.corrupt`, naming the first line that does not follow */
async function showJournal(
  text: string,
  { output, stateDir }: { readonly output: OutputFormat; readonly stateDir: string },
): Promise<void> {
  const { files, directory } = storeOf(parseReplica(text), stateDir);
  const { head } = await verifyJournal(files, directory.journal);
  const lines = await readJournal(files, directory.journal);
  if (head === null) {
    throw fail('record.missing', { action: 'show', replica: text, path: directory.journal });
  }
  if (output === 'jsonl') {
    for (const line of lines) process.stdout.write(`${toJson(line)}\n`);
    return;
  }
  print(output, { t: 'journal', replica: text, head: `${lines.length}:${head}`, lines }, () =>
    [
      textTable([['line', 'at', 'event', 'by', 'phase', 'what'], ...lines.map(cellsOf)]),
      `head: ${lines.length}:${head}`,
    ].join('\n'),
  );
}

function cellsOf(line: JournalLine): string[] {
  const { seq, at, event, by, phase } = line;
  const decision = objectOf(line['decision']);
  return [
    textOf(seq),
    textOf(at).slice(0, 19).replace('T', ' '),
    textOf(event),
    // A step is begun by its workflow; whoever let it begin is who counts.
    oneLine(textOf(decision['by'] ?? by)),
    // A step that has finished, not the one that is next by then.
    textOf(line['step'] ?? phase ?? '-'),
    oneLine(whatOf(line)),
  ];
}

/** In a few words; `-o jsonl` has all. */
function whatOf(line: JournalLine): string {
  const decision = objectOf(line['decision']);
  const info = objectOf(line['info']);
  const digest = decision['digest'];
  const parts = [
    ...(line['input'] === undefined ? [] : [movementOf(line)]),
    ...(digest === undefined
      ? []
      : [`approved: proof ${textOf(digest)}, generation ${textOf(decision['generation'])}`]),
    ...[line['outcome'], line['result'], line['reason'], info['reason']].map(textOf),
    ...(info['proof'] === undefined ? [] : [`proof ${textOf(info['proof'])}`]),
  ];
  return parts.filter((part) => part !== '').join('; ');
}

function movementOf({ migration, input }: JournalLine): string {
  const { source, target } = objectOf(input);
  const [from, to] = [source, target].map((place) => textOf(objectOf(place)['log']));
  return `${textOf(migration)}: ${from} to ${to}`;
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.entries(value))
    : {};
}

function textOf(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
