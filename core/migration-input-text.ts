/** The text whose digest tells one migration's input from another's. Pure. */

/** JSON with sorted keys, without who asked, who answers for it, and by which release. */
export function migrationInputText(input: Readonly<Record<string, unknown>>): string {
  const meant = Object.entries(input).filter(([key]) => !notMeant.includes(key));
  return sortedJson(Object.fromEntries(meant));
}

const notMeant = ['requestedBy', 'standalone', 'contractVersion'];

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
