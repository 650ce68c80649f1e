/** How commands find the control plane's own store. */
import { Option } from 'commander';

import { openControlStore, type ControlStore } from '../control/control-store.ts';

export interface ControlStoreOptions {
  readonly controlDir: string;
}

export function controlDirOption(): Option {
  return new Option('--control-dir <dir>', "the control plane's store")
    .default('/var/lib/quorumshift/control')
    .env('QUORUMSHIFT_CONTROL_DIR');
}

/** Makes no store where there is none, unless it is to. @throws `store.unusable` */
export async function withControlStore<T>(
  { controlDir }: ControlStoreOptions,
  { create }: { readonly create: boolean },
  work: (store: ControlStore) => Promise<T>,
): Promise<T> {
  const store = await openControlStore({ controlDir, create });
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}
