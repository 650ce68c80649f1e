/**
 * Peers derived from braft's own payloads, for people and reports; the payloads are never
 * re-encoded.
 */
import { decodeConfiguration, decodeFileMeta, type FileMetaDescription } from './messages.ts';
import { normalisePeerText } from './peer-id.ts';

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

/**
 * What braft's LocalFileMeta says, with what is present only; null when the bytes are no such
 * message.
 */
export function describeFileMeta(userMeta: Uint8Array): FileMetaDescription | null {
  return decodeFileMeta(userMeta);
}
