/**
 * The exclusive (or shared, for reading) hold on an instance: a lock on its first directory. It
 * leaves no trace in the directory, follows it through renames, and is gone with its process.
 */
import { fail } from '../core/errors.ts';
import type { FileLayer, PathLock } from './file-layer.ts';

/**
 * @param options.path an existing directory of the instance
 * @throws `instance.locked`, naming the holder
 */
export async function lockInstance(
  files: FileLayer,
  options: { instance: string; path: string; kind: 'exclusive' | 'shared'; action: string },
): Promise<PathLock> {
  const { instance, path, kind, action } = options;
  const lock = await files.lock(path, kind);
  if ('holder' in lock) throw fail('instance.locked', { action, instance, holder: lock.holder });
  return lock;
}
