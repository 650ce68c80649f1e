/**
 * Storage URIs, in braft's form: `<scheme>://<parameter>`, split at the first `://`; the scheme is
 * trimmed, whitespace inside the parameter removed, nothing decoded (docs/image-format.md names the
 * source). A short form names all three places of an instance at once.
 */
import { resolve } from 'node:path';

import { fail } from '../core/errors.ts';

export interface StorageUri {
  readonly scheme: string;
  readonly parameter: string;
}

/** @throws `uri.invalid` */
export function parseUri(uri: string): StorageUri {
  const split = uri.indexOf('://');
  if (split < 0) throw fail('uri.invalid', { uri, reason: 'it has no "://"' });
  const scheme = uri.slice(0, split).trim();
  const parameter = uri.slice(split + 3).replace(/\s/g, '');
  if (scheme === '') throw fail('uri.invalid', { uri, reason: 'its scheme is empty' });
  if (parameter === '') throw fail('uri.invalid', { uri, reason: 'nothing follows "://"' });
  return { scheme, parameter };
}

/**
 * The absolute path that the URI's parameter names; relative ones start at the working directory.
 */
export function uriPath(uri: string): string {
  return resolve(parseUri(uri).parameter);
}
