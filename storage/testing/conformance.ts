/**
 * The conformance suite for authors of storage families: run every case, unchanged, against a
 * family (FAM-7). It needs no test framework:
 *
 *     for (const { name, run } of conformanceCases) {
 *       test(name, () => run({ family, uris, context }));
 *     }
 */
import type { ConformanceCase } from './conformance-env.ts';
import { foundCases, openingCases, snapshotCases, stagingCases } from './conformance-life.ts';
import { logCases } from './conformance-log.ts';
import { pairCases } from './conformance-pairs.ts';
import { refusalCases } from './conformance-refusals.ts';

export type { ConformanceCase, ConformanceEnv } from './conformance-env.ts';

/** What holds also of a store over instances, which is made and opened but not imported into. */
export const storeCases: readonly ConformanceCase[] = [
  ...openingCases,
  ...logCases,
  ...refusalCases,
  ...snapshotCases,
  ...pairCases,
];

export const conformanceCases: readonly ConformanceCase[] = [
  ...storeCases,
  ...foundCases,
  ...stagingCases,
];
