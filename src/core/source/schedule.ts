import type { RequestKind } from '../cadence/load.ts';
import type { StoredWatch } from '../watch/watch.ts';
import type { RateLimit } from './limiter.ts';

/** What a process asks for when it can make a request to a source. */
export interface ClaimRequestOptions {
  token: string;
  /** The rate limit that the claim takes a permit of. */
  limit: RateLimit;
  leaseMs: number;
  /** How long it takes to poll every watch of the source once, ms. */
  roundMs: number;
  /** True where a short rate limit widens intervals: what is left of it goes to those watches. */
  isShort?: boolean;
}

/** A request that a process may make now. Times are milliseconds since the epoch by the store's clock. */
export interface ClaimedRequest {
  is: 'claimed';
  /** A run id, or the name of a page or plan. */
  member: string;
  kind: RequestKind;
  token: string;
  dueAt: number;
  /** When it was claimed. */
  now: number;
  /** Null for a page or plan, and for a run without a watch. */
  stored: StoredWatch | null;
  /** Whether the source has any trouble, which the answer may change. */
  isTroubled: boolean;
  /** Failed probes so far, if this request probes a closed source; else null. */
  failedProbes: number | null;
  /** Requests that count against the rate limit. */
  count: number;
  /** How long the rate limit is used up, ms; 0 where it is not. */
  usedUpMs: number;
}

/**
 * Why there is nothing to request now, and for how long, ms. The source is paused, its rate limit
 * used up, or nothing due; null where nothing is scheduled at all.
 */
export interface NothingClaimed {
  is: 'paused' | 'limited' | 'idle';
  ms: number | null;
}

/** What identifies a claim. */
export interface HeldClaim {
  member: string;
  token: string;
}

/** When a released member is due again; `never` removes it from the schedule. */
export type ReleasedUntil = { inMs: number } | 'as before' | 'never';

/** The size of a source's schedule. */
export interface ScheduleSurvey {
  /** Scheduled polls, and claimed requests. */
  members: number;
  /** Polls that are due and not claimed. */
  due: number;
  /** How long the earliest poll has been due, ms; below zero if it is due later, null for none. */
  oldestMs: number | null;
  /** When the first request of any kind is due, ms from now; null for none. */
  nextMs: number | null;
}
