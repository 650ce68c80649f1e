/** What a test and the process under test say to each other. */
import type { EngineFault } from './fault-shim.ts';

export interface TracedCase {
  readonly workload: 'life' | 'import' | 'reopen';
  /** The directory that is traced; the instance is `instance` inside it. */
  readonly root: string;
  readonly uri: string;
  readonly trace: string;
  readonly seed: number;
  /** Of a life: the size of its large mutation; 0 for none. */
  readonly largeBytes: number;
  readonly fault: EngineFault | null;
}

/** What "failed" tells, as JSON. */
export interface ToldFailure {
  /** Of the registry, or the operating system's. */
  readonly code: string;
  readonly message: string;
  /** Whether it is of our registry, which has a remedy for each. */
  readonly registered: boolean;
}

/** The last thing told. */
export const allEnded = 'all cases have ended';
