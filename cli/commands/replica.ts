/** `quorumshift replica …`: replicas that this machine's storage host serves, and their mirrors. */
import { Option, type Command } from 'commander';

import type { AdminClient, Asked } from '../../host/admin-client.ts';
import type { Progress, ReplicaStatus } from '../../host/proto/gen/storage_host_admin.ts';
import { identity } from '../identity.ts';
import {
  bytesText,
  hostSocketOption,
  outputOption,
  parseBytes,
  print,
  type OutputFormat,
} from '../output.ts';
import { ProgressLine } from '../progress.ts';

interface ReplicaOptions {
  readonly socket: string;
  readonly output: OutputFormat;
  readonly limit?: number;
}

export function addReplica(program: Command): void {
  const replica = program
    .command('replica')
    .description("replicas that this machine's storage host serves");
  const command = (name: string, description: string, example: string) =>
    replica
      .command(name)
      .description(description)
      .addOption(hostSocketOption())
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift replica ${name} ${example}`.trimEnd());
  const named = (name: string, description: string, example = 'kv/n1') =>
    command(name, description, example).argument('<replica>', '<cluster>/<member>');

  command('list', 'every replica, one line each: family, mirror, range, rate, lag', '').action(
    list,
  );
  named('show', 'one replica: where it lies, its mirror, range, term and epoch').action(show);
  named(
    'mirror',
    'copy it to a second instance while it is written, and begin dual write',
    'kv/n1 rocksdb:///data/b',
  )
    .argument('<uri>', 'where the mirror is made')
    .option('--limit <bytes>', 'bytes per second of the copy', parseBytes)
    .action(mirror);
  named('prove', 'read back from both instances what has changed, and compare them')
    .option('--full', 'read everything, whatever was read back before')
    .action(prove);
  named('cutover', 'make the mirror the primary, on the last proof').action(cutover);
  named('finalize', 'end dual write; what was primary before the cutover is moved aside')
    .option('--delete', 'delete it instead')
    .action(finalize);
  named(
    'promote',
    'one that cannot be served: go on from the mirror alone, which was written to the last',
    'kv/n1 --reason "the disk of its primary is gone"',
  )
    .requiredOption('--reason <text>', 'for the audit trail')
    .addOption(
      new Option('--side <side>', 'which side goes on')
        .choices(['mirror', 'primary'])
        .default('mirror'),
    )
    .action(promote);
  named('drop', 'give the mirror up, or what a failed one left, and delete it').action(drop);
}

async function list({ socket, output }: ReplicaOptions): Promise<void> {
  const replicas = await asked(socket, (client) => client.list());
  if (output !== 'jsonl') print(output, replicas, () => tableOf(replicas));
  else for (const status of replicas) print(output, status, () => '');
}

async function show(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  const status = await asked(socket, (client) => client.show(name));
  print(output, status, () => textOf(status));
}

async function mirror(name: string, uri: string, options: ReplicaOptions): Promise<void> {
  const bytesPerSecond = options.limit ?? null;
  await withProgressLine('copy', (onProgress) =>
    asked(options.socket, (client) =>
      client.mirror({ ...byHand(name), target: uri, bytesPerSecond }, onProgress),
    ),
  );
  print(options.output, { replica: name, mirror: uri, stage: 'dual' }, () =>
    [
      `${name} is written to both its primary and ${uri}.`,
      `Next: quorumshift replica prove ${name}`,
    ].join('\n'),
  );
}

async function prove(
  name: string,
  { socket, output, full = false }: ReplicaOptions & { readonly full?: boolean },
): Promise<void> {
  const readWithinSeconds = full ? 0 : null;
  const proof = await withProgressLine('compare', (onProgress) =>
    asked(socket, (client) => client.prove({ ...byHand(name), readWithinSeconds }, onProgress)),
  );
  const { digest, firstIndex, lastIndex, file, bytesRead, readSince } = proof;
  print(output, proof, () =>
    [
      `Both hold the same ${firstIndex}..${lastIndex}: ${digest} (proofs/${file})`,
      `Read ${bytesText(Number(bytesRead))} of both; nothing that it rests on was read before ${readSince}.`,
      `Next: quorumshift replica cutover ${name}`,
    ].join('\n'),
  );
}

async function cutover(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  const done = await asked(socket, (client) => client.cutOver({ ...byHand(name), digest: '' }));
  const { pauseMs, primaryLogUri } = done;
  print(output, done, () =>
    [
      `The primary is ${primaryLogUri}; writers waited ${pauseMs.toFixed(1)} ms.`,
      `Way back: quorumshift replica prove ${name}, then cutover again. To end: finalize.`,
    ].join('\n'),
  );
}

async function finalize(
  name: string,
  { socket, output, delete: deletes = false }: ReplicaOptions & { readonly delete?: boolean },
): Promise<void> {
  const retired = await asked(socket, (client) => client.finalize({ ...byHand(name), deletes }));
  print(output, { replica: name, retired }, () =>
    [
      `${name} has no mirror any more.`,
      retired.length === 0 ? 'Nothing of one is left.' : `It lies at ${retired.join(', ')}.`,
    ].join(' '),
  );
}

async function promote(
  name: string,
  {
    socket,
    output,
    reason,
    side,
  }: ReplicaOptions & { readonly reason: string; readonly side: 'primary' | 'mirror' },
): Promise<void> {
  const primaryLogUri = await asked(socket, (client) =>
    client.promote({ ...byHand(name), reason, side }),
  );
  print(output, { replica: name, primaryLogUri }, () =>
    [
      `${name} is served from ${primaryLogUri} alone. The other side stays as it is.`,
      `Next: quorumshift replica drop ${name} deletes it, then mirror makes a new one.`,
    ].join('\n'),
  );
}

async function drop(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  await asked(socket, (client) => client.drop(byHand(name)));
  print(output, { replica: name, mirror: null }, () => `${name} has no mirror any more.`);
}

/** Asked by an operator, beside any migration. */
function byHand(replica: string): Asked {
  return { replica, caller: { by: identity(), claim: undefined } };
}

async function withProgressLine<Result>(
  label: string,
  work: (onProgress: (progress: Progress) => void) => Promise<Result>,
): Promise<Result> {
  const line = new ProgressLine();
  try {
    return await work(({ phase, bytesDone }) => {
      line.update({ label: `${label} (${phase})`, bytesDone: Number(bytesDone), bytesTotal: 0 });
    });
  } finally {
    line.end();
  }
}

/** One line each, in columns; what is not served, and alarms, below them. */
function tableOf(replicas: readonly ReplicaStatus[]): string {
  const served = replicas.filter(({ refusal }) => refusal === '');
  const rows = [columns.map(([title]) => title), ...served.map(cellsOf)];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [
    ...(served.length === 0 ? [] : lines),
    ...replicas.filter(({ refusal }) => refusal !== '').map(refusalOf),
    ...replicas.flatMap(({ replica, alarms }) =>
      alarms.map((text) => `ALARM  ${replica}: ${text}`),
    ),
  ].join('\n');
}

function refusalOf({ replica, refusal }: ReplicaStatus): string {
  return `${replica} is not served: ${refusal}`;
}

const columns: readonly (readonly [string, (status: ReplicaStatus) => string])[] = [
  ['REPLICA', ({ replica }) => replica],
  ['FAMILY', ({ primary }) => primary?.family ?? ''],
  [
    'MIRROR',
    ({ mirror: second, stage }) => (second ? `${familyOf(second.logUri)}, ${stage}` : '-'),
  ],
  ['LOG', ({ firstIndex, lastIndex }) => `${firstIndex}..${lastIndex}`],
  ['TERM', ({ term }) => String(term)],
  ['EPOCH', ({ epoch }) => String(epoch)],
  ['GEN', ({ generation }) => String(generation)],
  ['RATE', ({ entriesPerSecond }) => `${entriesPerSecond.toFixed(0)}/s`],
  ['APPEND P99', ({ appendP99Ms }) => ms(appendP99Ms)],
  ['MIRROR LAG', ({ mirror: second, mirrorLagP99Ms }) => (second ? ms(mirrorLagP99Ms) : '-')],
  ['MIGRATION', ({ migrationId: id, migrationPhase }) => (id ? `${id}, ${migrationPhase}` : '-')],
];

function cellsOf(status: ReplicaStatus): string[] {
  return columns.map(([, cell]) => cell(status));
}

function familyOf(logUri: string): string {
  return logUri.slice(0, logUri.indexOf(':'));
}

function textOf(status: ReplicaStatus): string {
  const { replica, refusal, primary, mirror: second, former } = status;
  const row = (label: string, value: string) => `${label.padEnd(12)}${value}`;
  const advice = [
    ...status.alarms.map((text) => row('ALARM', text)),
    row('situation', status.situation),
    ...status.next.map((command) => row('next', command)),
  ];
  if (refusal !== '') return [`${replica} is not served: ${refusal}`, ...advice].join('\n');
  return [
    row('replica', replica),
    row('primary', `${primary?.logUri} (${primary?.family})`),
    row('mirror', second === undefined ? 'none' : `${second.logUri}, ${status.stage}`),
    ...(former ? [row('left', `${former.logUri}: ${former.why} (next: ${former.next})`)] : []),
    row('log', `${status.firstIndex}..${status.lastIndex}`),
    row('term', String(status.term)),
    row('snapshot', status.snapshotIndex === 0n ? 'none' : `to ${status.snapshotIndex}`),
    row('epoch', String(status.epoch)),
    row('generation', String(status.generation)),
    row('session', status.hasSession ? 'a client has it open' : 'none'),
    row('appended', `${status.appendedEntries} entries since the host started`),
    row('append', `p50 ${ms(status.appendP50Ms)}, p99 ${ms(status.appendP99Ms)} (last minute)`),
    ...(second === undefined
      ? []
      : [
          row('on mirror', `p99 ${ms(status.mirrorP99Ms)}, ${ms(status.mirrorLagP99Ms)} longer`),
          row('validated', validationText(status.validation)),
        ]),
    ...advice,
  ].join('\n');
}

function validationText(validation: ReplicaStatus['validation']): string {
  if (validation === undefined) return 'not since the host started';
  const { at, bytesRead, readSince } = validation;
  return `${at}, ${bytesText(Number(bytesRead))} read; a full read began ${readSince}`;
}

function ms(milliseconds: number): string {
  return `${milliseconds.toFixed(1)} ms`;
}

async function asked<Result>(
  socket: string,
  ask: (client: AdminClient) => Promise<Result>,
): Promise<Result> {
  const { AdminClient: Client } = await import('../../host/admin-client.ts');
  return Client.use({ socket }, ask);
}
