import { fullJitter, jitterAround, type Random } from './backoff.ts';
import type { Profile } from './watch.ts';

/** How fast the interval grows while nothing changes. */
const GROWTH: Record<Profile, number> = { urgent: 1.25, normal: 1.5, frugal: 2 };

/** Backoff between reads that failed. */
const TROUBLE_BACKOFF = { baseMs: 1_000, maxMs: 60_000 };

const JITTER = 0.1;

/** Bounds of the time between two polls of one run, ms. */
interface CadenceBounds {
  minIntervalMs: number;
  maxIntervalMs: number;
  /** The watch's own cap; null where it has none. */
  maxDelayMs: number | null;
}

interface CadenceState {
  /** The interval before jitter that led to this poll, ms. */
  intervalMs: number;
  profile: Profile;
  /** True when this poll saw something that the last one had not. */
  changed: boolean;
}

/**
 * The interval after a poll that succeeded: back to the minimum on a change, else growing by the
 * profile's factor up to the maximum. Before jitter, so that jitter does not accumulate.
 * @returns milliseconds
 */
export function nextInterval(state: CadenceState, bounds: CadenceBounds): number {
  const grown = state.changed ? bounds.minIntervalMs : state.intervalMs * GROWTH[state.profile];
  const ceiling = Math.min(bounds.maxIntervalMs, bounds.maxDelayMs ?? Infinity);
  return Math.min(Math.max(grown, bounds.minIntervalMs), ceiling);
}

/**
 * The delay that an interval gives: ± 10 %, so that runs registered together drift apart, yet never
 * beyond what the watch accepts.
 * @returns milliseconds
 */
export function pollDelay(intervalMs: number, maxDelayMs: number | null, random: Random): number {
  return Math.min(jitterAround(intervalMs, JITTER, random), maxDelayMs ?? Infinity);
}

/** The delay after `failures` reads in a row that told nothing. @returns milliseconds */
export function troubleDelay(failures: number, random: Random): number {
  return fullJitter(TROUBLE_BACKOFF, failures, random);
}
