/**
 * Search attributes as workflows set them: those alone that the start said the namespace has, since
 * the server would refuse a whole workflow task for another one. Nothing rests on them.
 */
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { condition, upsertSearchAttributes } from '@temporalio/workflow';

import type { SearchAttributeName } from '../core/search-attributes.ts';
import { tellsLess } from './less-told.ts';

/** Steps that take less are passed over: each change is a write of the server's own database. */
const showAfterMs = 5_000;

export type AttributeValues = Partial<Record<SearchAttributeName, string>>;

/** For a child's start. */
export function attributePairs(
  registered: readonly string[],
  values: AttributeValues,
): SearchAttributePair[] {
  return Object.entries(values)
    .filter(([name]) => registered.includes(name))
    .map(([name, value]) => ({ key: defineSearchAttributeKey(name, 'KEYWORD'), value }));
}

/** Writes what has changed; each write is an event of the history. */
export class OwnAttributes {
  readonly #registered: readonly string[];
  #shown = '';

  constructor(registered: readonly string[] = []) {
    this.#registered = registered;
  }

  show(values: AttributeValues): void {
    const pairs = attributePairs(this.#registered, values);
    const text = JSON.stringify(values);
    if (pairs.length === 0 || text === this.#shown) return;
    this.#shown = text;
    upsertSearchAttributes(pairs);
  }
}

/** Shows them as they change, until it is over. */
export async function keepShown(
  registered: readonly string[] | undefined,
  values: () => AttributeValues,
  isOver: () => boolean,
): Promise<void> {
  if (registered === undefined || registered.length === 0) return;
  const attributes = new OwnAttributes(registered);
  for (;;) {
    const shown = JSON.stringify(values());
    attributes.show(values());
    await condition(() => isOver() || JSON.stringify(values()) !== shown);
    // Histories of before show each change.
    if (!isOver() && tellsLess()) await condition(isOver, showAfterMs);
    if (!isOver()) continue;
    attributes.show(values());
    return;
  }
}
