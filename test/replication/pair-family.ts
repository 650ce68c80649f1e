/** A pair under the contract of a family, so that the conformance suite runs on it. */
import { dirname } from 'node:path';

import type { Family, Instance, InstanceUris, OpenContext } from '../../storage/contracts.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { makeDirectories } from '../../storage/files.ts';
import { openPair, type Pair } from '../../storage/replication/open-pair.ts';
import { pairLimits } from '../../storage/replication/pair-limits.ts';
import { defaultWindow, type PairWindow } from '../../storage/replication/pair-window.ts';
import { Watermark } from '../../storage/replication/watermark.ts';

export interface PairFamilyOptions {
  readonly primary: Family;
  readonly mirror: Family;
  /** Directory of the pair at this address: of its watermark, and of both sides. */
  readonly directory: (uris: InstanceUris) => string;
  readonly window?: PairWindow;
  readonly onFailure?: 'detach' | 'fail';
  /** Of the mirror; absent: none. */
  readonly limitMs?: number;
  readonly detached?: (cause: Error) => Promise<void>;
  /** What each side sees of the file system; the same for both unless given. */
  readonly filesOf?: (side: 'primary' | 'mirror', files: FileLayer) => FileLayer;
}

export function sidesOf(options: PairFamilyOptions, uris: InstanceUris) {
  const { primary, mirror, directory } = options;
  const at = directory(uris);
  return {
    primary: primary.expand(`${primary.name}://${at}/primary`),
    mirror: mirror.expand(`${mirror.name}://${at}/mirror`),
    watermark: `${at}/watermark`,
  };
}

/** Opens both sides of the pair at `uris`, and the pair over them. */
export async function openPairAt(
  options: PairFamilyOptions,
  uris: InstanceUris,
  how: { readonly mode: 'create' | 'read-write'; readonly context: OpenContext },
): Promise<Pair> {
  const { mode, context } = how;
  const at = sidesOf(options, uris);
  await makeDirectories(context.files, dirname(at.watermark));
  const contextOf = (side: 'primary' | 'mirror') => ({
    files: options.filesOf?.(side, context.files) ?? context.files,
  });
  const opened: Instance[] = [];
  try {
    const primary = await options.primary.open(at.primary, mode, contextOf('primary'));
    opened.push(primary);
    const mirror = await options.mirror.open(at.mirror, mode, contextOf('mirror'));
    opened.push(mirror);
    return await openPair({
      primary,
      mirror,
      limits: { primary: options.primary.limits, mirror: options.mirror.limits },
      watermark: await Watermark.open(context.files, at.watermark),
      window: options.window ?? defaultWindow,
      policy: { onFailure: options.onFailure ?? 'fail', limitMs: options.limitMs ?? null },
      detached: options.detached ?? (() => Promise.resolve()),
    });
  } catch (error) {
    for (const instance of opened) await instance.close().catch(() => {});
    throw error;
  }
}

export function pairFamily(options: PairFamilyOptions): Family {
  const { primary, mirror } = options;
  return {
    ...primary,
    name: `${primary.name} with ${mirror.name}`,
    limits: pairLimits(primary.limits, mirror.limits),
    occupied: (uris, context) => primary.occupied(sidesOf(options, uris).primary, context),
    stage: (uris, context) => primary.stage(sidesOf(options, uris).primary, context),
    open: async (uris, mode, context) => {
      if (mode === 'read-only') {
        return primary.open(sidesOf(options, uris).primary, mode, context);
      }
      return (await openPairAt(options, uris, { mode, context })).instance;
    },
  };
}
