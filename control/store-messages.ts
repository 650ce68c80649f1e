/** What the store and its thread say to each other. */
import type { ErrorCode } from '../core/errors.ts';
import type { AuditTable } from './audit-table.ts';
import type { InventoryTable } from './inventory-table.ts';
import type { NoticeTable } from './notice-table.ts';
import type { OperationTable } from './operation-table.ts';
import type { RolloutTable } from './rollout-table.ts';
import type { SnapshotTable } from './snapshot-table.ts';
import type { TokenTable } from './token-table.ts';

/** The table groups of the store; each call of theirs is one message. */
export interface Tables {
  readonly snapshots: SnapshotTable;
  readonly inventories: InventoryTable;
  readonly audit: AuditTable;
  readonly tokens: TokenTable;
  readonly operations: OperationTable;
  readonly notices: NoticeTable;
  readonly rollouts: RolloutTable;
}

export const tableNames = [
  'snapshots',
  'inventories',
  'audit',
  'tokens',
  'operations',
  'notices',
  'rollouts',
] as const satisfies readonly (keyof Tables)[];

export interface StoreRequest {
  readonly id: number;
  readonly table: keyof Tables | 'store';
  readonly call: string;
  readonly args: readonly unknown[];
}

export interface StoreFailure {
  readonly message: string;
  /** Null for what is no error of the registry. */
  readonly known: {
    readonly code: ErrorCode;
    readonly details: Readonly<Record<string, string>>;
  } | null;
}

export type StoreReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failure: StoreFailure };

export interface StoreThreadData {
  readonly controlDir: string;
  /** Tells this opening's operations from those of others. */
  readonly runner: string;
}
