/** Sizes as people write them: `64MiB`, `1GiB`, `1024`. */
const units = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

/** @throws TypeError for anything else */
export function parseByteSize(text: string): number {
  const [, digits, unit = ''] = /^(\d+)(KiB|MiB|GiB)?$/.exec(text) ?? [];
  const factor = Object.entries(units).find(([name]) => name === unit)?.[1];
  if (digits === undefined || factor === undefined) {
    throw new TypeError(`a size is a whole number with KiB, MiB, GiB or nothing, not "${text}"`);
  }
  return Number(digits) * factor;
}
