/**
 * Peer ids as braft writes and reads them: `ip:port:idx:role`, IPv4 only, role 0 a replica and 1 a
 * witness; releases up to v1.1.2 wrote no role (braft's configuration.h, PeerId::parse).
 */
import { cBlanks, scannedInt32 } from './scanf.ts';

export interface PeerId {
  readonly ip: string;
  readonly port: number;
  readonly idx: number;
  readonly role: number;
}

/** braft's "nobody": the ANY peer, as this version of braft prints it. */
export const anyPeerText = '0.0.0.0:0:0:0';

const number = String.raw`:+${cBlanks}([+-]?\d+)`;
/**
 * As lenient as braft's scanf: blanks before numbers and before the address, runs of colons, a rest
 * that is ignored.
 */
const lenient = new RegExp(`^${cBlanks}([^:]+)${number}(?:${number}(?:${number})?)?`);

const strict = /^\d+\.\d+\.\d+\.\d+:\d+(:\d+(:[01])?)?$/;

/** The highest known role, witness; a higher one is refused by braft. */
const maxRole = 1;

/** What braft makes of the text; null when it refuses it. */
export function parsePeerId(text: string): PeerId | null {
  const match = lenient.exec(text);
  const ip = match?.[1];
  if (match === null || ip === undefined || !isIpv4(ip)) return null;
  const [port, idx, role] = match.slice(2).map((digits) => scannedInt32(digits ?? '0'));
  if (port === undefined || idx === undefined || role === undefined || role > maxRole) return null;
  return { ip, port, idx, role };
}

/** braft's equality of peers: the role does not count, nor how the text is written. */
export function isSamePeer(a: PeerId, b: PeerId): boolean {
  return a.ip === b.ip && a.port === b.port && a.idx === b.idx;
}

/** Whether braft takes the peer for nobody. */
export function isAnyPeer(peer: PeerId): boolean {
  return peer.ip === '0.0.0.0' && peer.port === 0 && peer.idx === 0;
}

/** `inet_pton`'s form: four decimal octets without leading zeros. */
function isIpv4(ip: string): boolean {
  const octets = ip.split('.');
  return (
    octets.length === 4 && octets.every((o) => /^(0|[1-9]\d{0,2})$/.test(o) && Number(o) < 256)
  );
}

/** The text as this version of braft prints it. */
export function peerText(peer: PeerId): string {
  return `${peer.ip}:${peer.port}:${peer.idx}:${peer.role}`;
}

/** Four fields; a text that braft refuses becomes the ANY peer, as it does in a configuration. */
export function normalisePeerText(text: string): string {
  const peer = parsePeerId(text);
  return peer === null ? anyPeerText : peerText(peer);
}

/** FAM-10: what is wrong with a vote for braft, in words; null when it fits. */
export function votedForProblem(bytes: Uint8Array): string | null {
  const text = Buffer.from(bytes).toString('latin1');
  const fits = strict.test(text) && parsePeerId(text) !== null;
  return fits ? null : `"${text}" is no braft peer (IPv4:port:idx:role)`;
}
