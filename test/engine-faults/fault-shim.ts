/** engine-fault-shim.c, compiled by the test and steered by the process that it was loaded into. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

import koffi from 'koffi';

/** Where a call is made to fail. */
export interface EngineFault {
  readonly kind: 'open' | 'write' | 'sync' | 'truncate' | 'rename' | 'unlink' | 'mkdir' | 'link';
  /** The `nth` of its kind; 1 is the first. */
  readonly nth: number;
  /** ENOSPC of a write: a part is written, the write after it fails. */
  readonly code: 'EIO' | 'ENOSPC';
  /** Whether every later one fails too. */
  readonly always: boolean;
}

/** Tests run from `dist/`; the source stays where it is. */
const source = fileURLToPath(
  new URL('../../../test/engine-faults/engine-fault-shim.c', import.meta.url),
);

/** The path to give as LD_PRELOAD. */
export function compileShim(directory: string): string {
  const library = join(directory, 'engine-fault-shim.so');
  const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror', '-pthread'];
  execFileSync('cc', [...flags, '-o', library, source], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return library;
}

export interface FaultShim {
  /** Traces what happens below `root` into the file `trace`, and lets `fault` happen. */
  begin(options: { root: string; trace: string; fault: EngineFault | null }): void;
  faultHappened(): boolean;
  end(): void;
}

/** The shim that this process was started with. */
export function loadedShim(library: string): FaultShim {
  const shim = koffi.load(library);
  const begin = shim.func('int faults_begin(const char *directory, const char *trace)');
  const fail = shim.func('void faults_fail(const char *kind, int nth, int code, int always)');
  const happened = shim.func('int faults_happened()');
  const end = shim.func('void faults_end()');
  return {
    begin({ root, trace, fault }) {
      if (begin(root, trace) !== 0) throw new Error(`no trace can be written to ${trace}`);
      if (fault === null) return;
      fail(fault.kind, fault.nth, constants.errno[fault.code], fault.always ? 1 : 0);
    },
    faultHappened: () => happened() !== 0,
    end: () => void end(),
  };
}
