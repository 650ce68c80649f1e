/** What both families of a pair can hold (FAM-10). */
import type { FamilyLimits } from '../contracts.ts';

export function pairLimits(a: FamilyLimits, b: FamilyLimits): FamilyLimits {
  return {
    minIndex: a.minIndex > b.minIndex ? a.minIndex : b.minIndex,
    maxIndex: a.maxIndex < b.maxIndex ? a.maxIndex : b.maxIndex,
    maxPayloadBytes: Math.min(a.maxPayloadBytes, b.maxPayloadBytes),
    noOpPayload: a.noOpPayload && b.noOpPayload,
    votedFor: (bytes) => a.votedFor(bytes) ?? b.votedFor(bytes),
    path: (path) => a.path(path) ?? b.path(path),
  };
}
