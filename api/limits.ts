/** What one client, and all together, may take of the server. */

const kibibyte = 1024;

export const limits = {
  /** Of a body; an inventory of 10,000 members has some 2 MB and a limit of its own. */
  bodyBytes: 256 * kibibyte,
  inventoryBytes: 16 * 1024 * kibibyte,
  /** Of what names its clusters, up to 10,000. */
  selectionBytes: 1024 * kibibyte,
  /** Objects and arrays within each other; ours have at most eight. */
  jsonDepth: 32,
  /** The longest that is meant is a cursor's, 1,200, with its filters. */
  urlBytes: 4 * kibibyte,
  /** Of a name in the path. */
  parameterBytes: 256,
  /** All of a request's headers and its first line; Node refuses what has more. */
  headerBytes: 16 * kibibyte,
  /** Requests being answered, streams aside. */
  requests: 200,
  /** Streams of events. */
  streams: 500,
  /** Of those, one token's. */
  streamsOfOne: 250,
  /** A client that sends its request slower than this is cut off. */
  requestMs: 30_000,
  /** How often that is looked at; Node's own 30 s would double it. */
  checkMs: 5_000,
} as const;
