/**
 * braft's own messages inside what every family keeps: CONFIGURATION payloads and the user metadata
 * of snapshot files. They are read for people, reports and checks, and never re-encoded.
 */
import { normalisePeerText } from './peer-id.ts';
import { allBytes, allTexts, lastInt64, parseMessage, type WireField } from './protobuf.ts';

export interface ConfigurationPeers {
  /** As braft prints them: `ip:port:idx:role`. */
  readonly peers: readonly string[];
  /** Not empty only during joint consensus. */
  readonly oldPeers: readonly string[];
}

/** The peers of a CONFIGURATION payload; null when it is not braft's. */
export function configurationPeers(payload: Uint8Array): ConfigurationPeers | null {
  const configuration = decodeConfiguration(payload);
  return (
    configuration && {
      peers: configuration.peers.map(normalisePeerText),
      oldPeers: configuration.oldPeers.map(normalisePeerText),
    }
  );
}

/** ConfigurationPBMeta: { 1: peers, 2: old_peers }; null when the payload is no such message. */
export function decodeConfiguration(
  payload: Uint8Array,
): { readonly peers: string[]; readonly oldPeers: string[] } | null {
  const { fields, whole } = parseMessage(payload);
  return whole ? { peers: allTexts(fields, 1), oldPeers: allTexts(fields, 2) } : null;
}

/** LocalFileMeta: { 1: user_meta, 2: source, 3: checksum }; absent fields stay absent. */
export interface FileMetaDescription {
  readonly userMeta?: Buffer;
  /** FileSource: 0 LOCAL, 1 REFERENCE. */
  readonly source?: number;
  /** Text of the user's choice; braft never computes or verifies it. */
  readonly checksum?: string;
}

/** An enum is an int32 to C++ parsers, and a value that it does not know counts as absent. */
function lastFileSource(fields: readonly WireField[]): number | undefined {
  const known = fields.findLast((field) => {
    const value = lastInt64([field], 2);
    return value !== undefined && [0n, 1n].includes(BigInt.asIntN(32, value));
  });
  const value = known && lastInt64([known], 2);
  return value === undefined ? undefined : Number(BigInt.asIntN(32, value));
}

/** Null when the bytes are no LocalFileMeta. */
export function decodeFileMeta(bytes: Uint8Array): FileMetaDescription | null {
  const { fields, whole } = parseMessage(bytes);
  if (!whole) return null;
  const userMeta = allBytes(fields, 1).at(-1);
  const source = lastFileSource(fields);
  const checksum = allBytes(fields, 3).at(-1);
  return {
    ...(userMeta !== undefined && { userMeta }),
    ...(source !== undefined && { source }),
    ...(checksum !== undefined && { checksum: checksum.toString('utf8') }),
  };
}
