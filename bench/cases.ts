/** What is compared with what. Every reference is the plain tool for the same job, made durable. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { PayloadKind } from './payload-source.ts';

/** Paths of one run, all under one directory. */
export interface Workplace {
  /** The generated braft directory. */
  readonly source: string;
  /** A second instance with the same state. */
  readonly twin: string;
  readonly image: string;
  readonly archive: string;
  /** Made by a measured command, removed before the next. */
  readonly output: string;
}

export interface BenchmarkCase {
  readonly name: string;
  readonly referenceName: string;
  /** bash; must leave durable what it made. */
  readonly ours: (at: Workplace) => string;
  readonly reference: (at: Workplace) => string;
  /** The ratio of wall times that the product aims at; null where none is set. */
  readonly aim: Readonly<Record<PayloadKind, number | null>>;
}

const program = join(fileURLToPath(new URL('.', import.meta.url)), '../../bin/quorumshift.mjs');

/** A command of ours, as a user runs it. */
export function quorumshift(args: string): string {
  return `"${process.execPath}" "${program}" ${args}`;
}

const unpack = ({ archive, output }: Workplace) =>
  `mkdir -p "${output}" && lz4 -dqc "${archive}" | tar -x -C "${output}" && sync -f "${output}"`;

const packTo = (source: string, target: string) =>
  `tar -C "${source}" -c . | lz4 -q -c > "${target}" && sync "${target}"`;

const openssl = ({ source }: Workplace) =>
  `find "${source}" -type f -print0 | xargs -0 openssl sha256`;

const roundTrip = ({ source, output }: Workplace) =>
  `mkdir -p "${output}" && ${packTo(source, `${output}/archive`)} && ` +
  `lz4 -dqc "${output}/archive" | tar -x -C "${output}" && sync -f "${output}"`;

function importInto(family: string, aim: BenchmarkCase['aim']): BenchmarkCase {
  return {
    name: `import into ${family}`,
    referenceName: '`lz4 -d \\| tar -x`, sync',
    ours: ({ image, output }) => quorumshift(`import --image "${image}" "${family}://${output}"`),
    reference: unpack,
    aim,
  };
}

/**
 * Through an image in a pipe: nothing is on disk but the target. Then both are read and compared.
 */
function moveInto(family: string, aim: BenchmarkCase['aim']): BenchmarkCase {
  return {
    name: `move local to ${family}, validated`,
    referenceName: '`tar \\| lz4`, sync, `lz4 -d \\| tar -x`, sync',
    ours: ({ source, output }) =>
      `${quorumshift(`export "local://${source}" --image -`)} | ` +
      `${quorumshift(`import --image - "${family}://${output}"`)} && ` +
      quorumshift(`verify "local://${source}" "${family}://${output}"`),
    reference: roundTrip,
    aim,
  };
}

export const benchmarkCases: readonly BenchmarkCase[] = [
  {
    name: 'export to an image',
    referenceName: '`tar \\| lz4`, sync',
    ours: ({ source, output }) => quorumshift(`export "local://${source}" --image "${output}"`),
    reference: ({ source, output }) => packTo(source, output),
    aim: { text: 0.5, random: 0.25 },
  },
  importInto('local', { text: 0.4, random: 0.25 }),
  importInto('sqlite', { text: 0.6, random: 0.8 }),
  importInto('rocksdb', { text: 0.55, random: 0.55 }),
  {
    name: 'verify local with local',
    referenceName: '`openssl sha256` of one copy',
    ours: ({ source, twin }) => quorumshift(`verify "local://${source}" "local://${twin}"`),
    reference: openssl,
    aim: { text: 1, random: 1 },
  },
  {
    name: 'verify local with rocksdb',
    referenceName: '`openssl sha256` of one copy',
    ours: ({ source, twin }) =>
      quorumshift(`verify "local://${source}" "rocksdb://${twin}-rocksdb"`),
    reference: openssl,
    aim: { text: 1.5, random: 1.5 },
  },
  moveInto('local', { text: 0.6, random: 0.6 }),
  moveInto('rocksdb', { text: 0.6, random: 0.6 }),
  moveInto('sqlite', { text: 0.9, random: 0.9 }),
];
