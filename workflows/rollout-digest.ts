/** What a cluster's rollout is about, as one digest: the audit trail and its run's memo name it. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

import { canonicalJson } from '../core/canonical-json.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';

/** SHA-256, hexadecimal, of its canonical JSON. Whoever asks, it is the same rollout. */
export function rolloutDigest({ requestedBy: _who, ...meant }: ClusterRollout): string {
  return sha256Text(canonicalJson(meant));
}

/** Where Node's own is not at hand. */
export function sha256Text(text: string): string {
  return bytesToHex(sha256(utf8ToBytes(text)));
}
