/** Reads one item ahead: the next is being made while the consumer works on the present one. */
export async function* prefetch<Item>(source: AsyncIterable<Item>): AsyncGenerator<Item> {
  const iterator = source[Symbol.asyncIterator]();
  let pending = start(iterator);
  try {
    for (;;) {
      const result = await pending;
      if (result.done) return;
      pending = start(iterator);
      yield result.value;
    }
  } finally {
    await pending.catch(() => {});
    await iterator.return?.();
  }
}

function start<Item>(iterator: AsyncIterator<Item>): Promise<IteratorResult<Item>> {
  const next = iterator.next();
  // Its failure is the consumer's when awaited; until then it must not count as unhandled.
  next.catch(() => {});
  return next;
}
