/**
 * How many requests to a source a process may have under way, as far as process and Redis keep up. It
 * grows while it is too small for what is due and the process has time left: what a request waits for then is
 * the source, or a Redis that is far away. It shrinks where a claim was answered too late for its requests to be
 * sent, or an answer came too late to be written.
 */
export interface RequestWindow {
  /** Requests; a fraction counts towards the next one. */
  size: number;
  /** When it was made smaller, ms: what was claimed before says nothing of its size now. */
  shrunkAt: number;
}

/** Of as many a process with a tenth of a core makes the most. */
export const FIRST_WINDOW: RequestWindow = { size: 64, shrunkAt: -Infinity };

/** A process that does not keep up still has so many requests under way. */
const LEAST = 32;

/** A process that works for so much of its time would not do more with more requests. */
const BUSY = 0.9;

/** A window that is too small grows by this share of what was claimed, and one. */
const GROWTH = 0.25;

const SHRUNK = 0.7;

/**
 * The window after a claim that it kept from giving more.
 * @param claim.claimed how many requests it has given
 * @param claim.busyShare for which share of the time since it was asked the process did not wait
 * @param claim.most as many requests as rate limit and settings allow
 */
export function afterFull(
  window: RequestWindow,
  { claimed, busyShare, most }: { claimed: number; busyShare: number; most: number },
): RequestWindow {
  if (busyShare >= BUSY || window.size >= most) return window;
  return { ...window, size: Math.min(most, window.size + 1 + claimed * GROWTH) };
}

/** The window after a request that came too late. @param claimedAt when it was claimed, ms */
export function afterLate(window: RequestWindow, claimedAt: number, now: number): RequestWindow {
  if (claimedAt < window.shrunkAt) return window;
  return { size: Math.max(LEAST, window.size * SHRUNK), shrunkAt: now };
}

/** How many requests a window allows. @param most as many as rate limit and settings allow */
export function windowSize({ size }: RequestWindow, most: number): number {
  return Math.max(1, Math.min(Math.floor(size), most));
}
