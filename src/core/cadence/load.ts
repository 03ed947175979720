/** How well the polls of a source keep up with its budget. */
export interface SourceLoad {
  /** How long its rate limit takes to poll every active watch once, ms. */
  roundMs: number;
  /**
   * The cost multiplier: how much a request costs beyond the profile's price, because polls lag;
   * from 1.
   */
  costMultiplier: number;
  /** How many rounds of all watches the longest interval has room for; 0 where it never widens. */
  rounds: number;
  /**
   * Whether watches beyond their configured longest interval are polled with requests that are left
   * over; false where a plan of list feeds spends those.
   */
  usesSpare: boolean;
}

/** Under a short rate limit; so the longest interval alone takes a fifth of it. */
const ROUNDS = 5;

/** The load of a source of which nothing is known: it keeps up. */
export const NO_LOAD: SourceLoad = {
  roundMs: 0,
  costMultiplier: 1,
  rounds: ROUNDS,
  usesSpare: false,
};

/**
 * A poll counts as late if its lag exceeds the time of this many requests: a second at 10 a second.
 */
const LATE_BY = 10;

/** No poll counts as late below this lag, ms, since processes are busy now and then. */
const LATE_MS = 1_000;

const MORE = 1.02;
const LESS = 0.995;

/** An upper bound; at one punctual poll per second it takes half an hour to come back from it. */
const MOST_MULTIPLIER = 1_000;

/**
 * The longest time between two polls of a watch without its own limit. It widens where it would by
 * itself use up the budget and leave nothing for the important polls. What these leave over makes up
 * for it, see {@link SourceLoad.usesSpare}.
 * @returns milliseconds
 */
export function longestInterval(maxIntervalMs: number, { roundMs, rounds }: SourceLoad): number {
  return Math.max(maxIntervalMs, rounds * roundMs);
}

/** Whether a short rate limit widens the longest interval. */
export function isWidened(maxIntervalMs: number, load: SourceLoad): boolean {
  return longestInterval(maxIntervalMs, load) > maxIntervalMs;
}

/**
 * The cost multiplier after one more poll. It rises with each late poll, which shows too many
 * requests, and falls with each punctual one. It settles where one poll in five is late.
 * @param lagMs from when the poll was due to its start
 * @param requestMs what the rate limit takes for one request, ms
 */
export function costMultiplierAfter(
  costMultiplier: number,
  lagMs: number,
  requestMs: number,
): number {
  const isLate = lagMs > Math.max(LATE_MS, LATE_BY * requestMs);
  const next = costMultiplier * (isLate ? MORE : LESS);
  return Math.min(Math.max(next, 1), MOST_MULTIPLIER);
}

/** The load of a source without a plan of list feeds. */
export function loadUnder(costMultiplier: number, roundMs: number): SourceLoad {
  return { roundMs, costMultiplier, rounds: ROUNDS, usesSpare: true };
}

/**
 * The load where a plan of list feeds has set the cost multiplier; null for no plan. At a multiplier
 * of 1, intervals as configured fit. At a higher one, the plan spends what is left over.
 */
export function loadByPlan(load: SourceLoad, costMultiplier: number | null): SourceLoad {
  if (costMultiplier === null) return load;
  const rounds = costMultiplier > 1 ? ROUNDS : 0;
  return { ...load, costMultiplier, rounds, usesSpare: false };
}
