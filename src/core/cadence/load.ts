import type { Profile, Watch } from '../watch/watch.ts';

/** How well the polls of a source keep up with its budget. */
export interface SourceLoad {
  /** How long its rate limit takes to poll every active watch once, ms. */
  roundMs: number;
  /**
   * The cost multiplier: how much a request costs beyond the profile's price, because polls lag;
   * from 1.
   */
  costMultiplier: number;
  /** How many rounds of all watches the longest interval has room for. */
  rounds: number;
}

/** Under a short rate limit; fewer rounds use up what important polls leave over. */
const MOST_ROUNDS = 5;

/** The load of a source of which nothing is known: it keeps up. */
export const NO_LOAD: SourceLoad = { roundMs: 0, costMultiplier: 1, rounds: MOST_ROUNDS };

/**
 * A poll counts as late if its lag exceeds the time of this many requests: a second at 10 a second.
 */
const LATE_BY = 10;

/** No poll counts as late below this lag, ms, since processes are busy now and then. */
const LATE_MS = 1_000;

/** What is left over may lead to a lag of so many rounds. */
const PATIENT_ROUNDS = 1;

const MORE = 1.02;
const LESS = 0.995;

/** An upper bound; at one punctual poll per second it takes half an hour to come back from it. */
const MOST_PRESSURE = 1_000;

/** A lower bound: from there a hundred late polls lead to the most rounds. */
const LEAST_PRESSURE = 0.1;

/**
 * The longest time between two polls of a watch without its own limit. It widens where it would by
 * itself use up the budget and leave nothing for the important polls.
 * @returns milliseconds
 */
export function longestInterval(maxIntervalMs: number, { roundMs, rounds }: SourceLoad): number {
  return Math.max(maxIntervalMs, rounds * roundMs);
}

/**
 * The pressure on a rate limit after one more poll. It rises with each late poll, which shows too
 * many requests, and falls with each punctual one. It settles where one poll in five is late.
 * @param lagMs from when the poll was due to its start
 * @param times what the rate limit takes for one request, and for a round of all watches, ms
 */
export function pressureAfter(
  pressure: number,
  lagMs: number,
  { requestMs, roundMs }: { requestMs: number; roundMs: number },
): number {
  // While all of the rate limit is to be used, watches wait for one another.
  const patience = pressure < 1 ? roundMs * PATIENT_ROUNDS : 0;
  const isLate = lagMs > Math.max(LATE_MS, LATE_BY * requestMs, patience);
  const next = pressure * (isLate ? MORE : LESS);
  return Math.min(Math.max(next, LEAST_PRESSURE), MOST_PRESSURE);
}

/**
 * The load of a source by its pressure. Above 1 requests cost more. Below it, what important polls
 * leave over goes to watches that wait beyond their configured longest interval.
 */
export function loadUnder(pressure: number, roundMs: number): SourceLoad {
  const rounds = MOST_ROUNDS * Math.min(1, pressure);
  return { roundMs, costMultiplier: Math.max(1, pressure), rounds };
}

/** The load where a plan of list feeds has set the cost multiplier; null for no plan. */
export function loadByPlan(load: SourceLoad, costMultiplier: number | null): SourceLoad {
  if (costMultiplier === null) return load;
  // A plan with a higher price of requests leaves nothing over.
  return { ...load, costMultiplier, rounds: costMultiplier > 1 ? MOST_ROUNDS : load.rounds };
}

/**
 * The kinds of requests to a source. Within a kind the longest due goes first. `prompt`: polls that a
 * hint or user asks for now, and those of urgent watches. `first`: the first reads of watches.
 * `list`: pages of lists. `stream`: event streams to open. `plan` is no request: the feed's plan of
 * which lists to read.
 */
export const REQUEST_KINDS = [
  'prompt',
  'first',
  'watch',
  'frugal',
  'list',
  'stream',
  'plan',
] as const;

/** How many of them are polls of watches: these stand first. */
export const POLL_KINDS = 4;

/**
 * Under a short budget each kind of request that is due is sure of one in so many. What is left goes
 * to `prompt`, then `first`, `list`, and the polls by cadence and streams to open, of those the one with
 * the least patience left.
 */
export const SURE_OF_ONE_IN = 10;

export type RequestKind = (typeof REQUEST_KINDS)[number];

/** For how many rounds, of one poll per watch, a request lets other kinds go first. */
const PATIENCE_ROUNDS: Record<RequestKind, number> = {
  prompt: 0,
  first: 0,
  watch: 1,
  frugal: 2,
  list: 0,
  stream: 0,
  plan: 0,
};

const KIND_OF_PROFILE: Record<Profile, RequestKind> = {
  urgent: 'prompt',
  normal: 'watch',
  frugal: 'frugal',
};

/**
 * How long a request of a kind waits while those of its rank are more urgent. {@link SURE_OF_ONE_IN}
 * keeps it from waiting for those of another rank for ever.
 * @param roundMs how long it takes to poll every watch of the source once
 * @returns ms
 */
export function patienceMs(kind: RequestKind, roundMs: number): number {
  return PATIENCE_ROUNDS[kind] * roundMs;
}

/** The kind of a watch's first poll. */
export function firstKind(watch: Pick<Watch, 'profile' | 'maxDelayMs'>): RequestKind {
  return pollKind(watch, 0) === 'prompt' ? 'prompt' : 'first';
}

/** The kind of a watch's next poll: its profile's, unless the watch accepts no such delay. */
export function pollKind(
  { profile, maxDelayMs }: Pick<Watch, 'profile' | 'maxDelayMs'>,
  roundMs: number,
): RequestKind {
  const kind = KIND_OF_PROFILE[profile];
  if (maxDelayMs === null || patienceMs(kind, roundMs) <= maxDelayMs) return kind;
  return roundMs <= maxDelayMs ? 'watch' : 'prompt';
}
