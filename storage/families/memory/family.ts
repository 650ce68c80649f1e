/**
 * `memory://name`: instances in a process-wide map, for tests and as the model of the others. It
 * has no place on any file system; a name is empty until something creates or publishes it (FAM-8).
 */
import { fail } from '../../../core/errors.ts';
import type {
  Family,
  FamilyLimits,
  Instance,
  InstanceUris,
  OpenMode,
  StagingInstance,
} from '../../contracts.ts';
import { parseUri } from '../../instance-uris.ts';
import { manageInstance } from '../../managed-instance.ts';
import { snapshotPathFault } from '../../snapshot-path.ts';
import { emptyContent, memoryEngine, stateOf, type MemoryContent } from './engine.ts';
import type { TaggedSnapshots } from './snapshots.ts';
import { MemoryStaging, type MemoryCheckpoint } from './staging.ts';

interface Cell {
  /** Null while staging. */
  content: MemoryContent | null;
  staging: boolean;
  checkpoint: MemoryCheckpoint | null;
  /** Snapshots that outlive an opening, unpublished. */
  readonly tagged: TaggedSnapshots;
  /** -1: held exclusively; else the number of readers. */
  holders: number;
}

const cells = new Map<string, Cell>();

export const memoryLimits: FamilyLimits = {
  minIndex: 0n,
  // The index after the last one is an i64 too.
  maxIndex: 2n ** 63n - 2n,
  // One Buffer holds a batch, and its offsets are 32-bit.
  maxPayloadBytes: 2 ** 30,
  noOpPayload: true,
  votedFor: () => null,
  path: snapshotPathFault,
};

function nameOf(uris: InstanceUris): string {
  if (uris.meta !== uris.log || uris.snapshot !== uris.log) {
    const reason = 'log, metadata and snapshot of a memory instance have one URI';
    throw fail('uri.invalid', { uri: `${uris.log}, ${uris.meta}, ${uris.snapshot}`, reason });
  }
  return parseUri(uris.log).parameter;
}

function emptyCell(): Cell {
  return { content: null, staging: true, checkpoint: null, tagged: new Map(), holders: 0 };
}

function hold(cell: Cell, instance: string, options: { shared: boolean; action: string }): void {
  const free = options.shared ? cell.holders >= 0 : cell.holders === 0;
  if (!free) {
    const holder = `this process (pid ${process.pid})`;
    throw fail('instance.locked', { action: options.action, instance, holder });
  }
  cell.holders = options.shared ? cell.holders + 1 : -1;
}

function letGo(cell: Cell): void {
  cell.holders = cell.holders < 0 ? 0 : cell.holders - 1;
}

function describe(cell: Cell | undefined): string | null {
  if (cell === undefined) return null;
  return cell.staging ? 'an unfinished import is there' : 'an instance is there';
}

async function open(uris: InstanceUris, mode: OpenMode): Promise<Instance> {
  const name = nameOf(uris);
  const instance = uris.log;
  if (mode === 'create') createCell(name, instance);
  const cell = cells.get(name);
  if (cell === undefined) throw fail('instance.missing', { instance, actual: 'no such name' });
  const readOnly = mode === 'read-only';
  hold(cell, instance, { shared: readOnly, action: 'open' });
  try {
    return openCell(cell, { uris, readOnly });
  } catch (error) {
    letGo(cell);
    throw error;
  }
}

function createCell(name: string, instance: string): void {
  const actual = describe(cells.get(name));
  if (actual !== null) throw fail('instance.not-empty', { action: 'create', instance, actual });
  cells.set(name, { ...emptyCell(), content: emptyContent, staging: false });
}

function openCell(cell: Cell, options: { uris: InstanceUris; readOnly: boolean }): Instance {
  const instance = options.uris.log;
  const { content, checkpoint, tagged } = cell;
  if (cell.staging || content === null) {
    const actual = checkpoint
      ? `up to index ${checkpoint.progress.lastIndex}`
      : 'no checkpoint yet';
    throw fail('instance.staging', { instance, actual });
  }
  // The engine reads and writes the cell itself: reopening by name finds what was written.
  const owned = {
    get content(): MemoryContent {
      return cell.content ?? content;
    },
    set content(next: MemoryContent) {
      cell.content = next;
    },
  };
  const engine = memoryEngine(owned, { instance, tagged, close: async () => letGo(cell) });
  return manageInstance(engine, {
    ...options,
    family: memoryFamily.name,
    limits: memoryLimits,
    state: stateOf(content),
  });
}

async function stage(uris: InstanceUris): Promise<StagingInstance> {
  const name = nameOf(uris);
  const instance = uris.log;
  const found = cells.get(name);
  if (found?.staging === false) {
    const actual = 'an instance is there';
    throw fail('instance.not-empty', { action: 'import into', instance, actual });
  }
  const cell = found ?? emptyCell();
  hold(cell, instance, { shared: false, action: 'import into' });
  cells.set(name, cell);
  return new MemoryStaging({
    uris,
    checkpoint: cell.checkpoint,
    keep: (checkpoint) => {
      cell.checkpoint = checkpoint;
    },
    publish: (content) => {
      cell.content = content;
      cell.staging = false;
      cell.checkpoint = null;
    },
    close: () => letGo(cell),
  });
}

export const memoryFamily: Family = {
  name: 'memory',
  schemes: ['memory'],
  formatVersion: '1',
  limits: memoryLimits,
  expand: (uri) => ({ log: uri, meta: uri, snapshot: uri }),
  places: () => [],
  relocate: (uris) => uris,
  open,
  stage,
  occupied: async (uris) => describe(cells.get(nameOf(uris))),
};
