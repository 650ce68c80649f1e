/** Reads a member's answer: text from outside, of a bounded size. */
import { z } from 'zod';

import type { RaftView } from '../../core/raft-view.ts';
import { raftViewSchema } from '../../schemas/raft-view.ts';

/** A view is below 10 kB; what else a member says of itself comes with it. */
export const mostAnswerBytes = 256 * 1024;

/** @param pick where in the answer the view is @throws Error saying what is wrong with it */
export function parseView(text: string, pick: (answer: unknown) => unknown): RaftView {
  const parsed = raftViewSchema.safeParse(pick(parseJson(text)));
  if (parsed.success) return parsed.data;
  const reason = z.prettifyError(parsed.error).replaceAll('\n', ' ');
  throw new Error(`its answer is no member's view: ${reason}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const shown = JSON.stringify(text.slice(0, 200));
    throw new Error(`its answer is no JSON: ${shown}`, { cause });
  }
}
