/** `quorumshift replica …`: replicas that this machine's storage host serves, and their mirrors. */
import type { ServiceError } from '@grpc/grpc-js';
import type { Command } from 'commander';

import { fail } from '../../core/errors.ts';
import type {
  CutOverResponse,
  DropResponse,
  FinalizeResponse,
  ListResponse,
  MirrorProgress,
  ProveResponse,
  ReplicaStatus,
  StorageHostAdminClient,
} from '../../host/proto/gen/storage_host_admin.ts';
import { outputOption, parseBytes, print, type OutputFormat } from '../output.ts';
import { ProgressLine } from '../progress.ts';

interface ReplicaOptions {
  readonly socket: string;
  readonly output: OutputFormat;
  readonly limit?: number;
}

type Ask<Response> = (
  client: StorageHostAdminClient,
  answer: (error: ServiceError | null, response: Response) => void,
) => unknown;

export function addReplica(program: Command): void {
  const replica = program
    .command('replica')
    .description("replicas that this machine's storage host serves");
  const command = (name: string, description: string, example: string) =>
    replica
      .command(name)
      .description(description)
      .option('--socket <path>', "the host's admin socket", '/run/quorumshift/host-admin.sock')
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift replica ${name} ${example}`.trimEnd());
  const named = (name: string, description: string, example = 'kv/n1') =>
    command(name, description, example).argument('<replica>', '<cluster>/<member>');

  command('list', 'every replica, one line each', '').action(list);
  named('show', 'one replica: where it lies, its mirror, range, term and epoch').action(show);
  named(
    'mirror',
    'copy it to a second instance while it is written, and begin dual write',
    'kv/n1 rocksdb:///data/b',
  )
    .argument('<uri>', 'where the mirror is made')
    .option('--limit <bytes>', 'bytes per second of the copy', parseBytes)
    .action(mirror);
  named('prove', 'read both instances back and compare them').action(prove);
  named('cutover', 'make the mirror the primary, on the last proof').action(cutover);
  named('finalize', 'end dual write; the primary goes on alone').action(finalize);
  named('drop', 'give the mirror up and discard it').action(drop);
}

async function list({ socket, output }: ReplicaOptions): Promise<void> {
  const { replicas } = await asked<ListResponse>(socket, (client, answer) =>
    client.list({}, answer),
  );
  if (output !== 'jsonl') print(output, replicas, () => replicas.map(lineOf).join('\n'));
  else for (const status of replicas) print(output, status, () => '');
}

async function show(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  const { replicas } = await asked<ListResponse>(socket, (client, answer) =>
    client.list({}, answer),
  );
  const status = replicas.find(({ replica }) => replica === name);
  const served = replicas.map(({ replica }) => replica).join(', ');
  if (status === undefined) throw fail('session.unknown-replica', { replica: name, served });
  print(output, status, () => textOf(status));
}

async function mirror(name: string, uri: string, options: ReplicaOptions): Promise<void> {
  const line = new ProgressLine();
  await withAdmin(options.socket, async (client) => {
    const bytesPerSecond = BigInt(options.limit ?? 0);
    const call = client.mirror({ replica: name, uri, bytesPerSecond });
    call.on('data', ({ phase, bytesDone }: MirrorProgress) => {
      line.update({ label: `copy (${phase})`, bytesDone: Number(bytesDone), bytesTotal: 0 });
    });
    await new Promise<void>((resolve, reject) => {
      call.once('end', resolve);
      call.once('error', reject);
    });
  }).finally(() => line.end());
  print(options.output, { replica: name, mirror: uri, stage: 'dual' }, () =>
    [
      `${name} is written to both its primary and ${uri}.`,
      `Next: quorumshift replica prove ${name}`,
    ].join('\n'),
  );
}

async function prove(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  const proof = await asked<ProveResponse>(socket, (client, answer) =>
    client.prove({ replica: name }, answer),
  );
  const { digest, firstIndex, lastIndex } = proof;
  print(output, proof, () =>
    [
      `Both hold the same ${firstIndex}..${lastIndex}: ${digest}`,
      `Next: quorumshift replica cutover ${name}`,
    ].join('\n'),
  );
}

async function cutover(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  const done = await asked<CutOverResponse>(socket, (client, answer) =>
    client.cutOver({ replica: name }, answer),
  );
  const { pauseMs, primaryLogUri } = done;
  print(output, done, () =>
    [
      `The primary is ${primaryLogUri}; writers waited ${pauseMs.toFixed(1)} ms.`,
      `Way back: quorumshift replica prove ${name}, then cutover again. To end: finalize.`,
    ].join('\n'),
  );
}

async function finalize(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  const done = await asked<FinalizeResponse>(socket, (client, answer) =>
    client.finalize({ replica: name }, answer),
  );
  const left = done.retiredLogUri === '' ? 'It had none.' : `It stays at ${done.retiredLogUri}.`;
  print(output, done, () => `${name} has no mirror any more. ${left}`);
}

async function drop(name: string, { socket, output }: ReplicaOptions): Promise<void> {
  await asked<DropResponse>(socket, (client, answer) => client.drop({ replica: name }, answer));
  print(output, { replica: name, mirror: null }, () => `${name} has no mirror any more.`);
}

function lineOf(status: ReplicaStatus): string {
  const { replica, refusal, primary, stage, mirror: second } = status;
  if (refusal !== '') return `${replica}  not served: ${refusal}`;
  const to = second === undefined ? '' : `, ${stage} with ${second.logUri}`;
  return `${replica}  ${primary?.logUri}${to}  ${status.firstIndex}..${status.lastIndex}`;
}

function textOf(status: ReplicaStatus): string {
  const { replica, refusal, primary, mirror: second } = status;
  if (refusal !== '') return `${replica} is not served: ${refusal}`;
  const row = (label: string, value: string) => `${label.padEnd(12)}${value}`;
  return [
    row('replica', replica),
    row('primary', `${primary?.logUri} (${primary?.family})`),
    row('mirror', second === undefined ? 'none' : `${second.logUri}, ${status.stage}`),
    row('log', `${status.firstIndex}..${status.lastIndex}`),
    row('term', String(status.term)),
    row('snapshot', status.snapshotIndex === 0n ? 'none' : `to ${status.snapshotIndex}`),
    row('epoch', String(status.epoch)),
    row('generation', String(status.generation)),
    row('appended', `${status.appendedEntries} entries since the host started`),
  ].join('\n');
}

function asked<Response>(socket: string, ask: Ask<Response>): Promise<Response> {
  return withAdmin(
    socket,
    (client) =>
      new Promise<Response>((resolve, reject) => {
        ask(client, (error, response) => (error === null ? resolve(response) : reject(error)));
      }),
  );
}

/** Runs `use` with a client; its failures are told as ours. */
async function withAdmin<Result>(
  socket: string,
  use: (client: StorageHostAdminClient) => Promise<Result>,
): Promise<Result> {
  const [{ credentials }, { StorageHostAdminClient: Client }, { fromGrpcError }] =
    await Promise.all([
      import('@grpc/grpc-js'),
      import('../../host/proto/gen/storage_host_admin.ts'),
      import('../../host/grpc-errors.ts'),
    ]);
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  try {
    return await use(client);
  } catch (error) {
    throw fromGrpcError(error, socket);
  } finally {
    client.close();
  }
}
