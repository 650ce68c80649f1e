/** The states whose images are kept in test/golden/: small, and with every kind of content. */
import type { Instance } from '../../storage/contracts.ts';
import { createInstance, sampleInstance } from './sample-state.ts';

export const goldenStates = {
  fresh: createInstance,
  'empty-at-77': () => sampleInstance({ entries: 0, firstIndex: 77n, files: null }),
  full: () => sampleInstance({ entries: 150, firstIndex: 4090n, maxPayloadBytes: 60 }),
} satisfies Record<string, () => Promise<Instance>>;
