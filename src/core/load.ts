/** How well the polls of a source keep up with its budget. */
export interface SourceLoad {
  /** How long its rate limit takes to poll every active watch once, ms. */
  roundMs: number;
  /**
   * The cost multiplier: how much a request costs beyond the profile's price, because polls lag;
   * from 1.
   */
  dearness: number;
}

/** The load of a source of which nothing is known: it keeps up. */
export const NO_LOAD: SourceLoad = { roundMs: 0, dearness: 1 };

/** How many rounds of all watches the longest interval has room for. */
const ROUNDS = 5;

/**
 * A poll counts as late if its lag exceeds the time of this many requests: a second at 10 a second.
 */
const LATE_BY = 10;

/** No poll counts as late below this lag, ms, since processes are busy now and then. */
const LATE_MS = 1_000;

const DEARER = 1.02;
const CHEAPER = 0.995;

/** An upper bound; at one punctual poll per second it takes half an hour to come back from it. */
const DEAREST = 1_000;

/**
 * The longest time between two polls of a watch without its own limit. It widens where it would by
 * itself use up the budget and leave nothing for the important polls.
 * @returns milliseconds
 */
export function longestInterval(maxIntervalMs: number, { roundMs }: SourceLoad): number {
  return Math.max(maxIntervalMs, ROUNDS * roundMs);
}

/**
 * The cost multiplier after one more poll. It rises with each late poll, which shows too many
 * requests, and falls with each punctual one. It settles where one poll in five is late.
 * @param lagMs from when the poll was due to its start
 * @param requestMs the time per request that the rate limit allows
 */
export function dearnessAfter(dearness: number, lagMs: number, requestMs: number): number {
  const isLate = lagMs > Math.max(LATE_MS, LATE_BY * requestMs);
  const next = dearness * (isLate ? DEARER : CHEAPER);
  return Math.min(Math.max(next, 1), DEAREST);
}
