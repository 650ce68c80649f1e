/** A page of a list of workflows, as answers have it. */
import type { Page, RunPageRequest } from '../client/run-page.ts';
import { answer, type Mutable } from './context.ts';
import { cursorOf, placeOf } from './cursor.ts';

export async function runsPage<Item>(
  query: {
    readonly limit: number;
    readonly cursor?: string;
    readonly state?: RunPageRequest['state'] & string;
    readonly under?: string | undefined;
  },
  read: (request: RunPageRequest) => Promise<Page<Item>>,
): Promise<{ items: Mutable<Item>[]; next: string | null }> {
  const { limit, cursor, state, under } = query;
  const filters = { state, under };
  const place = placeOf(filters, cursor);
  const { items, next } = await read({
    limit,
    cursor: place === null ? null : Buffer.from(place, 'base64url'),
    ...(state !== undefined && { state }),
    ...(under !== undefined && { under }),
  });
  const token = next === null ? null : Buffer.from(next).toString('base64url');
  return {
    items: items.map((item) => answer(item)),
    next: token === null ? null : cursorOf(filters, token),
  };
}
