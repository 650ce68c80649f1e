import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';

import { sourceFiles, type SourceFile } from './source-files.ts';

const code = sourceFiles(['.ts', '.mjs']);

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
    // Spelt apart so that this file passes.
    const marks = new RegExp(
      `\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`,
    );
    expect(linesWhere(code, (line) => marks.test(line))).toEqual([]);
  });

  test('skip no test but for a missing toolchain, and mock nothing', () => {
    const tests = code.filter(({ path }) => path.endsWith('.test.ts'));
    const forbidden = new RegExp(
      `\\b(test|it|describe)\\.(skip|only|todo)\\(|\\bvi\\.${'mo'}ck\\(`,
    );
    expect(linesWhere(tests, (line) => forbidden.test(line))).toEqual([]);
  });

  test('silence neither compiler nor linter without a reason', () => {
    const silenced = new RegExp(`@ts-${'ig'}nore|@ts-${'no'}check|oxlint-disable(?!.* -- )`);
    expect(linesWhere(code, (line) => silenced.test(line))).toEqual([]);
  });
});
