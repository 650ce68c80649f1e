/**
 * Declarative files: YAML (JSON is YAML too), checked by a zod schema, each problem with its place.
 * Keys must be unique strings; anchors and aliases may be used, within bounds (yaml-content.ts).
 */
import { readFile, stat } from 'node:fs/promises';

import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';

import { ContentFault, contentOf, startOf } from './yaml-content.ts';

/** A fleet of 10,000 members has some 2 MB. */
const maxFileBytes = 16 * 1024 * 1024;

/** More of them nobody mends at once. */
const maxProblems = 20;

/** A problem of a file, where it is: line and column counted from 1. */
export interface FileProblem {
  readonly line: number;
  readonly column: number;
  /** Keys and positions from the top. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type Checked<Value> =
  | { readonly ok: true; readonly value: Value; readonly file: YamlFile }
  | { readonly ok: false; readonly problems: readonly FileProblem[] };

/** A parsed file, for checks beyond its schema. */
export class YamlFile {
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  problem(path: readonly (string | number)[], message: string): FileProblem {
    return { ...this.#placeOf(path), path, message };
  }

  /** Names in the order in which the file has them, which no JavaScript object keeps. */
  keysAt(path: readonly (string | number)[]): string[] {
    const node = this.#document.getIn(path, true);
    if (!isMap(node)) return [];
    return node.items.map(({ key }) => (isScalar(key) ? String(key.value) : String(key)));
  }

  /** Of the key, where the path ends in one; else of what holds it. */
  #placeOf(path: readonly (string | number)[]) {
    for (let depth = path.length; depth > 0; depth -= 1) {
      const offset = this.#offsetOf(path.slice(0, depth));
      if (offset !== null) return placeAt(this.#lines, offset);
    }
    return placeAt(this.#lines, startOf(this.#document.contents));
  }

  #offsetOf(path: readonly (string | number)[]): number | null {
    const holder = this.#document.getIn(path.slice(0, -1), true);
    const name = path.at(-1);
    const pair = isMap(holder)
      ? holder.items.find(({ key }) => isScalar(key) && String(key.value) === String(name))
      : undefined;
    const node: unknown = isPair(pair) ? pair.key : this.#document.getIn(path, true);
    return isNode(node) ? startOf(node) : null;
  }
}

/** @throws Error with the file system's own reason */
export async function readText(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > maxFileBytes) throw new Error(tooLarge);
  return readFile(path, 'utf8');
}

const tooLarge = `it is larger than ${maxFileBytes / 1024 / 1024} MiB`;

/** Parses and checks; never throws for what the text holds. */
export function checkYaml<Value>(text: string, schema: z.ZodType<Value>): Checked<Value> {
  const lines = new LineCounter();
  if (text.length > maxFileBytes) return refused([{ ...start, path: [], message: tooLarge }]);
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    version: '1.2',
  });
  const file = new YamlFile(document, lines);
  const syntax = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    ...placeAt(lines, pos[0]),
    path: [],
    message,
  }));
  if (syntax.length > 0) return refused(syntax);
  try {
    const parsed = schema.safeParse(contentOf(document.contents));
    if (parsed.success) return { ok: true, value: parsed.data, file };
    return refused(problemsOf(file, parsed.error.issues));
  } catch (error) {
    if (!(error instanceof ContentFault)) throw error;
    return refused([{ ...placeAt(lines, error.offset), path: [], message: error.message }]);
  }
}

const start = { line: 1, column: 1 } as const;

function refused(problems: readonly FileProblem[]) {
  return { ok: false, problems: problems.slice(0, maxProblems) } as const;
}

function placeAt(lines: LineCounter, offset: number) {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function problemsOf(file: YamlFile, issues: readonly z.core.$ZodIssue[]): FileProblem[] {
  return issues
    .flatMap((issue) => flatten(issue))
    .map(({ path, message }) => file.problem(path, message));
}

interface Flat {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Of a union what was wrong with the alternative that was meant: the one that fitted furthest. */
function flatten(issue: z.core.$ZodIssue, above: readonly (string | number)[] = []): Flat[] {
  const path = [
    ...above,
    ...issue.path.map((part) => (typeof part === 'number' ? part : String(part))),
  ];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], message: `"${key}" is no known key` }));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => ({ path, message }));
  }
  if (issue.code !== 'invalid_union') return [{ path, message: issue.message }];
  const ways = issue.errors.map((errors) => errors.flatMap((error) => flatten(error, path)));
  const deepest = ways.filter((flats) => flats.every((flat) => flat.path.length > path.length));
  const [meant] = deepest;
  if (deepest.length === 1 && meant !== undefined) return meant;
  const messages = new Set(ways.flat().map(({ message }) => message));
  return [{ path, message: [...messages].join('; or: ') }];
}
