import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { root } from './source-files.ts';

test('docs/errors.md is what the error registry says (node scripts/write-errors-doc.mjs)', () => {
  const script = join(root, 'scripts', 'write-errors-doc.mjs');
  const generated = execFileSync(process.execPath, [script, '--stdout'], { encoding: 'utf8' });
  expect(readFileSync(join(root, 'docs', 'errors.md'), 'utf8')).toBe(generated);
});
