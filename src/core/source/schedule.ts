import type { RequestKind } from '../cadence/load.ts';
import type { StoredWatch } from '../watch/watch.ts';
import type { RateLimit } from './limiter.ts';

/** What a process asks for when it can make requests to a source. */
export interface ClaimRequestsOptions {
  /** The token of each claimed request is this one, a dot and its place. */
  token: string;
  most: number;
  /** The rate limit that the claim takes permits of. */
  limit: RateLimit;
  leaseMs: number;
  /** How long it takes to poll every watch of the source once, ms. */
  roundMs: number;
  /** True where a short rate limit widens intervals: what is left of it goes to those watches. */
  isShort?: boolean;
}

/** A request that a process may make now. Times are milliseconds since the epoch by the store's clock. */
export interface ClaimedRequest {
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
}

/**
 * When another claim is worthwhile, ms from now: when the earliest request is due, null where nothing is
 * scheduled at all; or when the source or its rate limit lets one through.
 */
export type NextClaim =
  | { is: 'idle'; ms: number | null }
  | { is: 'paused' | 'limited'; ms: number };

/** What a process may request now, the most urgent first. */
export interface ClaimedRequests {
  claimed: ClaimedRequest[];
  next: NextClaim;
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
  /** How long the store took to answer, ms. */
  answerMs: number;
}
