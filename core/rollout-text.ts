/** What a cluster's rollout is known by: its digest is made of this. Pure. */
import { canonicalJson } from './canonical-json.ts';

/** Canonical JSON of all but who asks: whoever does, it is the same rollout. */
export function rolloutText({
  requestedBy: _who,
  ...meant
}: {
  readonly requestedBy: string;
}): string {
  return canonicalJson(meant);
}
