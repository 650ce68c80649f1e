/** The part of npm rocksdb 5.2.1 (abstract-leveldown's API) that the engine calls. */
declare module 'rocksdb' {
  type Callback<Result = void> = (error: Error | null | undefined, result: Result) => void;

  export interface RocksDbOptions {
    readonly createIfMissing?: boolean;
    readonly errorIfExists?: boolean;
    readonly readOnly?: boolean;
    /** Snappy. */
    readonly compression?: boolean;
    readonly cacheSize?: number;
    readonly writeBufferSize?: number;
    readonly blockSize?: number;
    readonly maxOpenFiles?: number;
  }

  export interface IteratorOptions {
    readonly gte?: Buffer;
    readonly lte?: Buffer;
    readonly reverse?: boolean;
    readonly limit?: number;
    readonly keys?: boolean;
    readonly values?: boolean;
    readonly fillCache?: boolean;
    /** Bytes read ahead in one call. */
    readonly highWaterMark?: number;
  }

  export class RocksDbIterator {
    next(callback: (error: Error | null | undefined, key?: Buffer, value?: Buffer) => void): void;
    end(callback: Callback): void;
  }

  export type BatchOperation =
    | { readonly type: 'put'; readonly key: Buffer; readonly value: Uint8Array }
    | { readonly type: 'del'; readonly key: Buffer };

  class RocksDb {
    constructor(location: string);
    open(options: RocksDbOptions, callback: Callback): void;
    close(callback: Callback): void;
    /** Atomic; the operations' bytes are copied before it returns. */
    batch(
      operations: readonly BatchOperation[],
      options: { readonly sync: boolean },
      callback: Callback,
    ): void;
    /** Of an open database; empty for a name that RocksDB does not know. */
    getProperty(name: string): string;
    iterator(options: IteratorOptions): RocksDbIterator;
  }

  export default RocksDb;
}
