import { describe, expect, test } from 'vitest';

import { importsOf, sourceFiles, type Import, type SourceFile } from './source-files.ts';

/** From the user down to pure data: each folder imports only what stands below it. */
const layers = [
  'cli',
  'api',
  'client',
  'worker',
  'workflows',
  'activities',
  'control',
  'host',
  'storage/binding',
  'storage/replication',
  'storage/equivalence',
  'storage/image',
  'storage/families',
  'storage/testing',
  'storage',
  'schemas',
  'core',
];

/** Useful, and safe, without Temporal. */
const belowTemporal = layers.slice(layers.indexOf('control'));

const product = sourceFiles(['.ts']).filter((file) => layerOf(file.path) !== undefined);
const byPath = new Map(product.map((file) => [file.path, file]));

/** The deepest layer that holds the path; undefined for tests, benchmarks and configuration. */
function layerOf(path: string): string | undefined {
  return layers
    .filter((layer) => path.startsWith(`${layer}/`))
    .toSorted((a, b) => b.length - a.length)[0];
}

/** `<file> imports <target>` for each import of these files that breaks `allowed`. */
function violations(
  files: readonly SourceFile[],
  allowed: (file: SourceFile, imported: Import) => boolean,
): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((imported) => !allowed(file, imported))
      .map((imported) => `${file.path} imports ${imported.target}`),
  );
}

function inLayer(layer: string): SourceFile[] {
  return product.filter((file) => layerOf(file.path) === layer);
}

describe('imports', () => {
  test('the product is found, and its imports are read', () => {
    expect(byPath.has('storage/contracts.ts')).toBe(true);
    const [registry] = product.filter((file) => file.path === 'storage/family-registry.ts');
    expect(registry && importsOf(registry)).toContainEqual({
      target: 'core/errors.ts',
      own: true,
      typeOnly: false,
    });
  });

  test('each folder imports only itself and what stands below it', () => {
    const rank = (path: string) => layers.indexOf(layerOf(path) ?? 'cli');
    const wrong = violations(product, (file, { own, target }) => {
      if (!own) return true;
      return layerOf(target) !== undefined && rank(target) >= rank(file.path);
    });
    expect(wrong).toEqual([]);
  });

  test("nothing at or below the control plane's store knows Temporal", () => {
    const files = belowTemporal.flatMap(inLayer);
    const wrong = violations(files, (_file, { target }) => !target.startsWith('@temporalio/'));
    expect(wrong).toEqual([]);
  });

  test('core is pure: it imports nothing but core', () => {
    expect(violations(inLayer('core'), (_file, { target }) => layerOf(target) === 'core')).toEqual(
      [],
    );
  });

  test('workflows, and the client, see what runs elsewhere as types only', () => {
    const workflows = violations(
      inLayer('workflows'),
      (_file, { target, typeOnly }) => typeOnly || layerOf(target) !== 'activities',
    );
    const client = violations(
      inLayer('client'),
      (_file, { target, typeOnly }) => typeOnly || layerOf(target) !== 'workflows',
    );
    expect([...workflows, ...client]).toEqual([]);
  });

  test('the workflow bundle holds workflows, core and the SDK alone: no zod, no Node', () => {
    const bundled = reachable(inLayer('workflows'));
    const pure = ['@noble/hashes/sha2.js', '@noble/hashes/utils.js'];
    const sdk = new Set(['@temporalio/workflow', '@temporalio/common', ...pure]);
    const wrong = violations(bundled, (_file, { own, target, typeOnly }) => {
      if (typeOnly) return true;
      return own ? ['workflows', 'core'].includes(layerOf(target) ?? '') : sdk.has(target);
    });
    expect(wrong).toEqual([]);
  });

  test('a family imports no other family [FAM-6]', () => {
    const familyOf = (path: string) => /^storage\/families\/([^/]+)\//.exec(path)?.[1];
    const wrong = violations(product, (file, { own, target }) => {
      const imported = own ? familyOf(target) : undefined;
      if (imported === undefined) return true;
      const registration = /^storage\/families\/[^/]+\.ts$/.test(file.path);
      return registration || familyOf(file.path) === imported;
    });
    expect(wrong).toEqual([]);
  });
});

/** These files and all that they import at run time. */
function reachable(start: readonly SourceFile[]): SourceFile[] {
  const seen = new Set(start);
  for (const file of seen) {
    for (const { target, typeOnly } of importsOf(file)) {
      const next = byPath.get(target);
      if (next !== undefined && !typeOnly) seen.add(next);
    }
  }
  return [...seen];
}
