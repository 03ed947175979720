/**
 * Which request to a source goes next, of those that are due. One script claims them by this, whatever process asks:
 * `redis/stores/request-claim.ts`. First the kind is chosen:
 * 1. `plan`, which is no request;
 * 2. a kind that was not served by the last {@link SURE_OF_ONE_IN} choices between several: the longest of them;
 * 3. the kind of the first rank, see {@link REQUEST_RANKS}; in one rank what has the least patience left.
 *
 * Within a kind the longest due goes first, but of `prompt` one claim in {@link NEWEST_ONE_IN} takes the newest, and
 * of `first` all but one in {@link LONGEST_ONE_IN}. Where nothing is due and the rate limit is short, the watch that
 * has waited longest beyond its configured interval is polled. A hint or a user makes a poll `prompt`
 * (`redis/lua/schedule.ts`). A probe of a closed source is a poll, and where none is due a page of a list: where no run
 * is watched, discovery would else never go on. Requests that stand in no schedule take permits beside this order: while
 * a user waits for one, every other is left to it (`source/limiter.ts`). When each is due is decided by
 * `core/watch/observe.ts` and `core/feed`; whether a request may be sent at all, by the rate limit and the throttle.
 */
import type { Profile, Watch } from '../watch/watch.ts';

/**
 * The kinds of requests to a source.
 * `prompt`: polls that a hint or user asks for now, and those of urgent watches. `first`: the first reads of watches.
 * `watch`, `frugal`: polls by cadence. `list`: pages of lists. `stream`: event streams to open. `plan` is no request:
 * the feed's plan of which lists to read.
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

export type RequestKind = (typeof REQUEST_KINDS)[number];

/** How many of them are polls of watches: these stand first. */
export const POLL_KINDS = 4;

/** Under a short budget each kind of request that is due is sure of one in so many. */
export const SURE_OF_ONE_IN = 10;

/** What is left of the budget goes to the lowest rank that is due. */
export const REQUEST_RANKS: Readonly<Record<RequestKind, number>> = {
  plan: 0,
  prompt: 1,
  first: 2,
  list: 3,
  watch: 4,
  frugal: 4,
  stream: 4,
};

/** Of prompt polls, one claim in so many takes the newest hint, the others the longest due. */
export const NEWEST_ONE_IN = 4;

/**
 * Of first reads, one claim in so many takes the longest due, the others the newest: new runs do not
 * wait for a backlog. Where four other kinds take their tenths, new runs get 2/3 of 0.6: more than a third.
 */
export const LONGEST_ONE_IN = 3;

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
