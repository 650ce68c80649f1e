/** What adapters answer of a member: a `RaftView`, checked where it comes in. */
import { z } from 'zod';

import type { RaftView } from '../core/raft-view.ts';

const largest = (1n << 64n) - 1n;

/** u64 as decimal digits: as a JSON number it would lose digits beyond 2^53. */
const u64Schema = z
  .string()
  .regex(/^\d{1,20}$/, 'must be a string of decimal digits')
  .refine((text) => BigInt(text) <= largest, 'must be at most 2^64 - 1')
  .transform((text) => String(BigInt(text)));

/** As a Raft library writes it: a name, or an address with a port. */
const raftIdSchema = z.string().min(1).max(256);

const memberSchema = z.object({ raftId: raftIdSchema, voter: z.boolean() });

/** More than any group has; a workflow's messages stay below 10 kB. */
const mostMembers = 30;

/** What an adapter says besides is left out. */
export const raftViewSchema: z.ZodType<RaftView> = z.object({
  role: z.enum(['leader', 'follower', 'learner', 'candidate', 'unknown']),
  term: u64Schema,
  leader: raftIdSchema.nullable(),
  commitIndex: u64Schema,
  appliedIndex: u64Schema,
  lastIndex: u64Schema,
  members: z
    .array(memberSchema)
    .max(mostMembers)
    .refine(
      (members) => new Set(members.map(({ raftId }) => raftId)).size === members.length,
      'must name each member once',
    ),
  changePending: z.boolean(),
});
