/** Who uses the command line. */
import { hostname, userInfo } from 'node:os';

/** Recorded with operations; unverified. */
export function identity(): string {
  return `${userInfo().username}@${hostname()}`;
}
