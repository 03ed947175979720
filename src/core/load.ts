/** How the polls of a source fare against its budget. */
export interface SourceLoad {
  /** How long its rate limit lets it take to poll every active watch once, ms. */
  roundMs: number;
  /** By how much requests have become dearer than the profile says, because polls came late; from 1. */
  dearness: number;
}

/** A source of which nothing is known but that it keeps up. */
export const NO_LOAD: SourceLoad = { roundMs: 0, dearness: 1 };

/** How many rounds of all watches the longest interval has room for. */
const ROUNDS = 5;

/** A poll is late that waited for more requests than these: for a second at 10 requests a second. */
const LATE_BY = 10;

/** However much a source allows, a poll is not late before this, ms: processes are busy now and then. */
const LATE_MS = 1_000;

const DEARER = 1.02;
const CHEAPER = 0.995;

/** A bound, from which it takes half an hour of punctual polls at 1 a second to come back. */
const DEAREST = 1_000;

/**
 * The longest time between two polls of a watch without a limit of its own. A cap that would by
 * itself use up the budget leaves nothing for the looks that matter, so it widens.
 * @returns milliseconds
 */
export function longestInterval(maxIntervalMs: number, { roundMs }: SourceLoad): number {
  return Math.max(maxIntervalMs, ROUNDS * roundMs);
}

/**
 * What a request is worth after one more poll: more with each that came late, for then there are too
 * many of them, and less again with each that was punctual. Settles where one poll in five is late.
 * @param lagMs from when the poll was due to when it began
 * @param requestMs in how long the rate limit lets one request through
 */
export function dearnessAfter(dearness: number, lagMs: number, requestMs: number): number {
  const isLate = lagMs > Math.max(LATE_MS, LATE_BY * requestMs);
  const next = dearness * (isLate ? DEARER : CHEAPER);
  return Math.min(Math.max(next, 1), DEAREST);
}
