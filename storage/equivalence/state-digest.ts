/** The state digest of an instance, by reading all of it back (EQ-3). */
import { fail, InvariantError } from '../../core/errors.ts';
import type { Instance } from '../contracts.ts';
import type { LogDigestState } from '../image/digest-tree.ts';
import { StateDigester, type StateDigest } from '../image/state-digester.ts';
import { exportState, type TransferOptions, type TransferProgress } from '../image/state-stream.ts';

export interface DigestProgress extends TransferProgress {
  /**
   * Where a later {@link digestInstance} of the unchanged instance can continue; JSON, 43 bytes for
   * 4096 entries.
   */
  checkpoint(): LogDigestState;
}

export interface DigestOptions extends Omit<TransferOptions, 'onProgress'> {
  readonly onProgress?: (progress: DigestProgress) => void;
  /** From an earlier attempt's progress, of this same, unchanged instance. */
  readonly resume?: LogDigestState;
}

/**
 * Reads everything back from `instance` and digests it.
 * @throws `image.source-changed`, `image.resume-mismatch`, `data.corrupt`, `snapshot.file-missing`;
 *   the signal's reason
 */
export async function digestInstance(
  instance: Instance,
  options: DigestOptions = {},
): Promise<StateDigest> {
  const { onProgress, resume, ...transfer } = options;
  if (resume !== undefined) requireSameLog(instance, resume);
  const digester = new StateDigester(resume === undefined ? {} : { resume });
  const stream = exportState(instance, {
    ...transfer,
    passing: true,
    digester,
    ...(onProgress && {
      onProgress: (progress) =>
        onProgress({ ...progress, checkpoint: () => digester.log.checkpoint() }),
    }),
  });
  for await (const section of stream) if (section.kind === 'end') return section.digest;
  throw new InvariantError('a stream of sections ends with its end, or throws');
}

function requireSameLog(instance: Instance, resume: LogDigestState): void {
  const { firstIndex, lastIndex } = instance.state();
  const next = BigInt(resume.nextIndex);
  if (BigInt(resume.firstIndex) === firstIndex && next <= lastIndex + 1n) return;
  throw fail('image.resume-mismatch', {
    action: `digest of "${instance.uris.log}"`,
    actual: `${resume.firstIndex}..${next - 1n} was digested, ${firstIndex}..${lastIndex} is there`,
  });
}
