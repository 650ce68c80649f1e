/** The repository's own source files, as the tidy tests read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout; these tests run from dist/test/tidy. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

const skipped = new Set(['node_modules', 'dist', '.git', '.cache', 'golden', 'fixtures', 'gen']);

export interface SourceFile {
  /** Relative to the checkout, with "/". */
  readonly path: string;
  readonly text: string;
}

/** Every file with one of these endings, sorted by path. */
export function sourceFiles(endings: readonly string[]): SourceFile[] {
  const paths = walk(root).filter((path) => endings.some((ending) => path.endsWith(ending)));
  return paths.toSorted().map((path) => ({
    path: relative(root, path),
    text: readFileSync(path, 'utf8'),
  }));
}

function walk(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (skipped.has(entry.name)) return [];
    const path = join(directory, entry.name);
    return entry.isDirectory() ? walk(path) : [path];
  });
}

export interface Import {
  /** A path relative to the checkout for a file of ours, else the package or `node:` name. */
  readonly target: string;
  readonly own: boolean;
  /** Erased on build: `import type`, `export type … from`, `typeof import()`. */
  readonly typeOnly: boolean;
}

const statement = /^(?:import|export)\s+(type\s)?[^;'"]*?from\s+'([^']+)'/gm;
const sideEffect = /^import\s+'([^']+)'/gm;
const dynamic = /(\btypeof\s+)?\bimport\(\s*'([^']+)'/g;

/** What the file imports or re-exports. */
export function importsOf(file: SourceFile): Import[] {
  const found = [
    ...[...file.text.matchAll(statement)].map(([, type, to]) => ({ type, to })),
    ...[...file.text.matchAll(sideEffect)].map(([, to]) => ({ type: undefined, to })),
    ...[...file.text.matchAll(dynamic)].map(([, type, to]) => ({ type, to })),
  ];
  return found.map(({ type, to = '' }) => {
    const own = to.startsWith('.');
    const target = own ? relative(root, join(root, dirname(file.path), to)) : to;
    return { target, own, typeOnly: type !== undefined };
  });
}
