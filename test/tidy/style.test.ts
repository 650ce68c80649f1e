import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';

import { sourceFiles, type SourceFile } from './source-files.ts';

const code = sourceFiles(['.ts', '.mjs']);

/** This file spells out what it forbids. */
const others = code.filter(({ path }) => path !== 'test/tidy/style.test.ts');

/** A name that says nothing of what is in the file. */
const emptyNames = new Set([
  'utils',
  'util',
  'helpers',
  'helper',
  'common',
  'manager',
  'service',
  'base',
]);

const maxColumns = 100;

/** `path:line` of each line that `wrong` says so of. */
function linesWhere(files: readonly SourceFile[], wrong: (line: string) => boolean): string[] {
  return files.flatMap((file) =>
    file.text
      .split('\n')
      .flatMap((line, i) => (wrong(line) ? [`${file.path}:${i + 1}: ${line.trim()}`] : [])),
  );
}

describe('source files', () => {
  test('are named in kebab-case', () => {
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.(test|config|d))?\.(ts|mjs)$/;
    expect(code.map(({ path }) => path).filter((path) => !kebab.test(basename(path)))).toEqual([]);
  });

  test('have names that say what is in them', () => {
    const empty = ({ path }: SourceFile) =>
      basename(path)
        .split(/[-.]/)
        .some((word) => emptyNames.has(word));
    expect(code.filter(empty).map(({ path }) => path)).toEqual([]);
  });

  test('have at most 100 columns, but for one long text', () => {
    const longText = /(['"`]).{40,}\1|https?:\/\//;
    const tooLong = (line: string) => line.length > maxColumns && !longText.test(line);
    expect(linesWhere(code, tooLong)).toEqual([]);
  });

  test('hold no work that was put off', () => {
    const marks = /\b(TODO|FIXME|XXX|HACK)\b/;
    expect(linesWhere(others, (line) => marks.test(line))).toEqual([]);
  });

  test('skip no test but for a missing toolchain, and mock nothing', () => {
    const tests = others.filter(({ path }) => path.endsWith('.test.ts'));
    const forbidden = /\b(test|it|describe)\.(skip|only|todo)\(|\bvi\.mock\(/;
    expect(linesWhere(tests, (line) => forbidden.test(line))).toEqual([]);
  });

  test('silence neither compiler nor linter without a reason', () => {
    const silenced = /@ts-ignore|@ts-nocheck|oxlint-disable(?!.* -- )/;
    expect(linesWhere(others, (line) => silenced.test(line))).toEqual([]);
  });
});
