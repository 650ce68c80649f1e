/** What commands print: people get text, programs get JSON; int64 are strings in JSON. */
import { InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';

import { exitCodes } from '../core/error-registry.ts';
import { QuorumshiftError, messageOf } from '../core/errors.ts';
import { systemFailure } from '../storage/system-failure.ts';

export type OutputFormat = 'text' | 'json' | 'jsonl';

export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how results are printed')
    .choices(['text', 'json', 'jsonl'])
    .default('text');
}

/** `options.logFormat` */
export function logFormatOption(): Option {
  return new Option('--log-format <format>', 'on stderr: sentences, or a line of JSON each')
    .choices(['text', 'json'])
    .default('text')
    .env('QUORUMSHIFT_LOG_FORMAT');
}

/** `options.socket` */
export function hostSocketOption(): Option {
  return new Option('--socket <path>', "the storage host's admin socket").default(
    '/run/quorumshift/host-admin.sock',
  );
}

export function stateDirOption(): Option {
  return new Option('--state-dir <dir>', 'where binding records are')
    .default('/var/lib/quorumshift')
    .env('QUORUMSHIFT_STATE_DIR');
}

/** Prints one result: a line of JSON, indented JSON, or the text that `text` makes of it. */
export function print(format: OutputFormat, value: unknown, text: () => string): void {
  if (format === 'text') process.stdout.write(`${text()}\n`);
  else process.stdout.write(`${toJson(value, format === 'json' ? 2 : 0)}\n`);
}

export function toJson(value: unknown, indent = 0): string {
  return JSON.stringify(
    value,
    (_key, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner),
    indent,
  );
}

/** Prints an error with code, cause and remedy; returns the exit code that belongs to it. */
export function printError(format: OutputFormat, thrown: unknown): number {
  const error = systemFailure(thrown) ?? thrown;
  const known = error instanceof QuorumshiftError;
  const message = messageOf(error);
  const code = known ? error.code : 'unexpected';
  const remedy = known ? error.definition.remedy : 'This is a defect: please report it.';
  if (format === 'text') {
    process.stderr.write(`${pc.red(`error [${code}]`)} ${message}\n`);
    process.stderr.write(`${pc.dim('what to do:')} ${remedy}\n`);
    if (!known && error instanceof Error && error.stack) process.stderr.write(`${error.stack}\n`);
  } else {
    process.stderr.write(`${toJson({ t: 'error', code, message, remedy })}\n`);
  }
  return known ? error.definition.exitCode : exitCodes.unexpected;
}

/**
 * What somebody else wrote, on one line and without what a terminal obeys: it must not look like a
 * line of ours.
 */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(/\p{Cc}/gu, '\u{fffd}');
}

const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < binaryUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${binaryUnits[unit] ?? 'B'}`;
}

export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Parses a whole number that is not negative. */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('must be a whole number');
  return Number(text);
}

/** Of a list: with none asked for there is nothing to show. */
export function parseListLimit(text: string): number {
  const limit = parseCount(text);
  if (limit < 1) throw new InvalidArgumentError('must be 1 or more');
  return limit;
}

export function parsePort(text: string): number {
  const port = parseCount(text);
  if (port > 65_535) throw new InvalidArgumentError('must be a port, 0 to 65535; 0: a free one');
  return port;
}

/** Parses `64MiB`, `10M`, `4096`: bytes, binary units. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) throw new InvalidArgumentError('must be a size such as 64MiB, 10M or 4096');
  const power = ['', 'K', 'M', 'G', 'T'].indexOf((match[2] ?? '').toUpperCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}
