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

/**
 * The instance that a short URI, changed by the separate ones, names. @throws `usage.invalid`,
 * `uri.*`
 */
export function instanceUris(
  families: FamilyRegistry,
  short: string | undefined,
  options: InstanceOptions = {},
): InstanceUris {
  const base = short === undefined ? undefined : families.expand(short);
  const log = options.log ?? base?.log;
  const meta = options.meta ?? base?.meta;
  const snapshot = options.snapshot ?? base?.snapshot;
  if (log === undefined || meta === undefined || snapshot === undefined) {
    throw fail('usage.invalid', {
      reason: 'an instance needs a short URI, or all of --log, --meta and --snapshot',
    });
  }
  return { log, meta, snapshot, ...(options.group !== undefined && { groupId: options.group }) };
}
