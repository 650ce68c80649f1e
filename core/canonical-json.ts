/** JSON with one form for each value, so that equal values have equal digests. Pure. */

/**
 * JSON text with nothing between its tokens, and the keys of every object sorted by their UTF-16
 * units, after those that are whole numbers.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
