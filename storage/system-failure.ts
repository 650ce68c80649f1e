import { fail, QuorumshiftError } from '../core/errors.ts';

/** What the operating system refused, as an error of the registry; null for other errors. */
export function systemFailure(error: unknown): QuorumshiftError | null {
  if (error instanceof QuorumshiftError || !(error instanceof Error)) return null;
  if (!('syscall' in error) || typeof error.syscall !== 'string') return null;
  const path = 'path' in error && typeof error.path === 'string' ? error.path : 'an open file';
  // Node's message goes on with the call and the path.
  const [reason = error.message] = error.message.split(', ');
  return fail('io.failed', { action: error.syscall, path, reason }, { cause: error });
}
