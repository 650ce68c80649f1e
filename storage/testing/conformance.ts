/**
 * The conformance suite for authors of storage families: run every case, unchanged, against a
 * family (FAM-7). It needs no test framework:
 *
 *     for (const { name, run } of conformanceCases) {
 *       test(name, () => run({ family, uris, context }));
 *     }
 */
import type { ConformanceCase } from './conformance-env.ts';
import { openingCases, snapshotCases, stagingCases } from './conformance-life.ts';
import { logCases } from './conformance-log.ts';
import { pairCases } from './conformance-pairs.ts';
import { refusalCases } from './conformance-refusals.ts';

export type { ConformanceCase, ConformanceEnv } from './conformance-env.ts';

export const conformanceCases: readonly ConformanceCase[] = [
  ...openingCases,
  ...logCases,
  ...refusalCases,
  ...snapshotCases,
  ...stagingCases,
  ...pairCases,
];
