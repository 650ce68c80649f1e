/**
 * What the main thread and the database's worker say to each other. Entry bytes go as one
 * ArrayBuffer, transferred and given back: cloning costs sixteen times as much.
 */

/**
 * Chunks back to back in `buffer`: chunk i begins at index `firsts[i]` and has `sizes[i]` bytes.
 */
export interface PackedChunks {
  readonly firsts: BigInt64Array;
  readonly sizes: Uint32Array;
  readonly buffer: ArrayBuffer;
}

export interface DatabaseOptions {
  readonly file: string;
  readonly mode: 'read-only' | 'read-write' | 'create';
  readonly bulk: boolean;
}

export interface Calls {
  open: { argument: DatabaseOptions; result: null };
  records: { argument: null; result: [string, Uint8Array][] };
  write: {
    argument: {
      readonly remove: { readonly from: bigint; readonly to: bigint } | null;
      readonly chunks: PackedChunks;
      readonly records: readonly (readonly [string, Uint8Array | null])[];
      readonly durable: boolean;
    };
    /** The buffer of `chunks`, for the next write. */
    result: ArrayBuffer;
  };
  chunkAt: { argument: bigint; result: bigint | null };
  /**
   * The chunks from `first` on, up to `to`, of at most `maxBytes`, one larger chunk aside; empty at
   * the end.
   */
  chunks: {
    argument: { readonly first: bigint; readonly to: bigint; readonly maxBytes: number };
    result: PackedChunks;
  };
  close: { argument: null; result: null };
}

export type CallName = keyof Calls;

/** A call by name, with its argument. */
export type Request = {
  [Name in CallName]: {
    readonly id: number;
    readonly name: Name;
    readonly argument: Calls[Name]['argument'];
  };
}[CallName];

export type Reply =
  | { readonly id: number; readonly result: Calls[CallName]['result'] }
  | {
      readonly id: number;
      readonly failure: { readonly message: string; readonly corrupt: boolean };
    };
