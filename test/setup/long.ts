/** What takes minutes, or waits for them, runs by `QUORUMSHIFT_LONG=1 npm test` alone. */
export const isLong = process.env['QUORUMSHIFT_LONG'] === '1';
