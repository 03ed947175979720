import type { Profile, Watch } from './watch.ts';

/**
 * The kinds of requests to a source. Within a kind the longest due goes first; between kinds, the
 * one with the least patience left. `prompt`: polls that an event or user asks for now, and those
 * of urgent watches.
 */
export const REQUEST_KINDS = ['prompt', 'watch', 'frugal', 'list'] as const;

export type RequestKind = (typeof REQUEST_KINDS)[number];

/** For how many rounds, of one poll per watch, a request lets other kinds go first. */
const ROUNDS: Record<RequestKind, number> = { prompt: 0, watch: 1, frugal: 2, list: 1 };

const KIND_OF_PROFILE: Record<Profile, RequestKind> = {
  urgent: 'prompt',
  normal: 'watch',
  frugal: 'frugal',
};

/**
 * How long a request of a kind waits at most while others are more urgent. The bound is finite for
 * each kind, so none starves.
 * @param roundMs how long it takes to poll every watch of the source once
 * @returns ms
 */
export function patienceMs(kind: RequestKind, roundMs: number): number {
  return ROUNDS[kind] * roundMs;
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
