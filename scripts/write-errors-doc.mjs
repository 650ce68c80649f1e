// Writes docs/errors.md from the error registry (dist/core/error-registry.js, so build first). With
// --stdout it only prints, for the test that holds the document equal to the registry.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { errorRegistry, exitCodes } from '../dist/core/error-registry.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const exitMeanings = {
  ok: 'done; for `verify`: equivalent',
  unexpected: 'a fault of the machine or of quorumshift itself',
  usage: 'the command line, a URI or a configuration file is wrong',
  refused: 'a rule forbids it now; nothing was changed',
  notEquivalent: 'the states differ',
  corrupt: 'stored bytes are damaged',
  busy: 'someone else holds it; the same command may succeed later',
  unreachable: 'Temporal or the agent of a machine does not answer',
  needsOperator: 'the migration waits for a person',
};

function exitCodeRows() {
  return Object.entries(exitCodes).map(([name, code]) => {
    const meaning = exitMeanings[name];
    if (meaning === undefined) throw new Error(`exitMeanings lacks "${name}"`);
    return `| ${code} | ${meaning} |`;
  });
}

function section([code, { message, retryable, httpStatus, exitCode, remedy }]) {
  const retry = retryable ? 'may succeed when tried again' : 'does not succeed by trying again';
  return [
    `### ${code}`,
    `> ${message}`,
    `${remedy}`,
    `Exit code ${exitCode}, HTTP status ${httpStatus}; ${retry}.`,
  ].join('\n\n');
}

const document = `${[
  '# Errors and exit codes',
  'Generated from `core/errors.ts` by `node scripts/write-errors-doc.mjs`; do not edit by hand.',
  '## Exit codes',
  ['| exit code | meaning |', '| --- | --- |', ...exitCodeRows()].join('\n'),
  '## Errors',
  'Every error has a code, a message that says the action, the required state and the actual one, and a remedy. `{name}` stands for a value.',
  ...Object.entries(errorRegistry)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(section),
].join('\n\n')}\n`;

if (process.argv.includes('--stdout')) process.stdout.write(document);
else writeFileSync(join(root, 'docs', 'errors.md'), document);
