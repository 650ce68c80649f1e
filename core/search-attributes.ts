/**
 * What migrations can be found by in Temporal, each a Keyword. `quorumshift dev` registers them; a
 * migration starts without those that a namespace does not have.
 */
export const searchAttributeNames = [
  'QuorumshiftFleet',
  'QuorumshiftWave',
  'QuorumshiftCluster',
  'QuorumshiftMember',
  'QuorumshiftPhase',
  'QuorumshiftState',
  'QuorumshiftHost',
] as const;

export type SearchAttributeName = (typeof searchAttributeNames)[number];
