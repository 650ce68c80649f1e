/** How commands name an instance: a short URI, or its three URIs. */
import { Option, type Command } from 'commander';

import { fail } from '../core/errors.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';

export interface InstanceOptions {
  readonly log?: string;
  readonly meta?: string;
  readonly snapshot?: string;
  readonly group?: string;
}

export function addInstanceOptions(command: Command): Command {
  return command
    .addOption(new Option('--log <uri>', 'log URI, where it differs from the short form'))
    .addOption(new Option('--meta <uri>', 'metadata URI, likewise'))
    .addOption(new Option('--snapshot <uri>', 'snapshot URI, likewise; "" for none'))
    .addOption(
      new Option('--group <id>', 'group id, where a store is shared (braft: <group>_<idx>)'),
    );
}

/** The same of one of two instances: `--<side>-log`, and so on. */
export function addSideOptions(command: Command, side: Side): Command {
  return command
    .option(`--${side}-log <uri>`, `log URI of the ${side}, where it differs from the short form`)
    .option(`--${side}-meta <uri>`, `metadata URI of the ${side}, likewise`)
    .option(`--${side}-snapshot <uri>`, `snapshot URI of the ${side}, likewise; "" for none`)
    .option(`--${side}-group <id>`, `group id of the ${side}, where it is another one`);
}

export type Side = 'source' | 'target' | 'other';

/** As commander names the options of {@link addSideOptions}. */
export type SideOptions = {
  readonly [Name in `${Side}${'Log' | 'Meta' | 'Snapshot' | 'Group'}`]?: string;
};

/** The options of one side, by the names of {@link InstanceOptions}. */
export function sideOptions(options: SideOptions, side: Side): InstanceOptions {
  const log = options[`${side}Log`];
  const meta = options[`${side}Meta`];
  const snapshot = options[`${side}Snapshot`];
  const group = options[`${side}Group`];
  return {
    ...(log !== undefined && { log }),
    ...(meta !== undefined && { meta }),
    ...(snapshot !== undefined && { snapshot }),
    ...(group !== undefined && { group }),
  };
}

/** Whether the separate URIs name an instance without a short one. */
export function areWhole({ log, meta, snapshot }: InstanceOptions): boolean {
  return log !== undefined && meta !== undefined && snapshot !== undefined;
}

/**
 * The instance that a short URI, changed by the separate ones, names. @throws `usage.invalid`,
 * `uri.*`
 */
export function instanceUris(
  families: FamilyRegistry,
  short: string | undefined,
  options: InstanceOptions & { readonly side?: Side } = {},
): InstanceUris {
  const base = short === undefined ? undefined : families.expand(short);
  const log = options.log ?? base?.log;
  const meta = options.meta ?? base?.meta;
  const snapshot = options.snapshot ?? base?.snapshot;
  if (log === undefined || meta === undefined || snapshot === undefined) {
    const { side } = options;
    const [which, prefix] = side === undefined ? ['an instance', ''] : [`the ${side}`, `${side}-`];
    throw fail('usage.invalid', {
      reason: `${which} needs a short URI, or all of --${prefix}log, --${prefix}meta and --${prefix}snapshot`,
    });
  }
  return { log, meta, snapshot, ...(options.group !== undefined && { groupId: options.group }) };
}
