/** How commands find the control plane's own store, on this machine. */
import { Option, type Command } from 'commander';

import { readControlConfig } from '../control/control-config-file.ts';
import { openControlStore, type ControlStore } from '../control/control-store.ts';
import { controlConfigSchema } from '../schemas/control-config.ts';

export interface ControlStoreOptions {
  readonly controlDir?: string;
  readonly controlConfig?: string;
}

export function addControlStoreOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--control-dir <dir>', "where the control plane's store is").env(
        'QUORUMSHIFT_CONTROL_DIR',
      ),
    )
    .addOption(
      new Option('--control-config <file>', 'of the control plane, which says where').env(
        'QUORUMSHIFT_CONTROL_CONFIG',
      ),
    );
}

/** As the options say, the directory first; else the default. @throws `config.invalid` */
export async function controlDirOf(options: ControlStoreOptions): Promise<string> {
  if (options.controlDir !== undefined) return options.controlDir;
  if (options.controlConfig === undefined) return controlConfigSchema.parse({}).controlDir;
  return (await readControlConfig(options.controlConfig)).controlDir;
}

/** Makes no store where there is none, unless it is to. @throws `store.unusable` */
export async function withControlStore<T>(
  options: ControlStoreOptions,
  { create }: { readonly create: boolean },
  work: (store: ControlStore) => Promise<T>,
): Promise<T> {
  const store = await openControlStore({ controlDir: await controlDirOf(options), create });
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}
