import { assertNever } from '../errors.ts';

/**
 * How many attempts a receiver is sent at a time. It begins with few, takes more while deliveries wait
 * and all is well, and gives way at signs of overload: as TCP does with its congestion window (RFC 5681),
 * with latency as a sign as in TCP Vegas. Times are milliseconds since the epoch, durations ms.
 */
export interface Slots {
  /** Attempts at a time; the fraction counts towards the next one. */
  limit: number;
  /** From here on it grows slowly: overload was near. Null before the first. */
  wall: number | null;
  /** Smoothed latency while there were few attempts at a time; null before the first answer. */
  quietMs: number | null;
  /** Smoothed latency. */
  smoothMs: number | null;
  /** When it gave way last: attempts begun before say nothing about what came of that. */
  cutAt: number;
  /** The webhook that showed overload alone since; another one has to agree. Null where none has. */
  suspect: string | null;
}

/** Attempts at a time while nothing is known. */
export const FIRST_SLOTS = 4;

/** What is known of a receiver that was quiet for this long is forgotten, ms. */
export const SLOTS_KEPT_MS = 60_000;

export const NEW_SLOTS: Slots = {
  limit: FIRST_SLOTS,
  wall: null,
  quietMs: null,
  smoothMs: null,
  cutAt: 0,
  suspect: null,
};

/** What an attempt says about how much its receiver can take. */
export interface SlotResult {
  kind: 'delivered' | 'overloaded' | 'timeout' | 'failed';
  beganAt: number;
  durationMs: number;
  /** Others were waiting when it was claimed. */
  hadWaiting: boolean;
  /** The webhook, where several share the slots; only what two of them show makes the slots fewer. */
  sharer: string | null;
}

/** The share that is left where the receiver says that it is too much, or slows down. */
const KEPT_SHARE = 0.75;
const KEPT_AFTER_TIMEOUT = 0.5;

/** Latency counts as overload above this multiple of the quiet one, and some ms. */
const SLOW_FACTOR = 2.5;
const SLOW_MS = 50;

/** Up to so many attempts at a time, latency counts as the quiet one. */
const QUIET_BELOW = 2 * FIRST_SLOTS;

/** A new latency counts as one of so many, and of as many as there are attempts at a time. */
const SMOOTHED_OVER = 8;

/** Beyond the wall, so many answers per attempt at a time make room for one more. */
const SLOW_GROWTH = 12;

/** So far beyond the wall it was none. */
const WALL_PASSED = 1.5;

/** What slots become by the result of an attempt. @param most as many as they may become */
export function afterAttemptAt(slots: Slots, result: SlotResult, most: number): Slots {
  switch (result.kind) {
    case 'delivered':
      return afterDelivered(timed(slots, result.durationMs), result, most);
    case 'overloaded':
      return cut(slots, result, KEPT_SHARE);
    case 'timeout':
      return cut(slots, result, KEPT_AFTER_TIMEOUT);
    case 'failed':
      return slots;
    default:
      return assertNever(result.kind);
  }
}

function timed(slots: Slots, durationMs: number): Slots {
  const over = Math.max(SMOOTHED_OVER, slots.limit);
  const isQuiet = slots.limit <= QUIET_BELOW && slots.wall === null;
  return {
    ...slots,
    smoothMs: smoothed(slots.smoothMs, durationMs, over),
    quietMs: isQuiet ? smoothed(slots.quietMs, durationMs, over) : slots.quietMs,
  };
}

function smoothed(before: number | null, ms: number, over: number): number {
  return before === null ? ms : before + (ms - before) / over;
}

function afterDelivered(slots: Slots, result: SlotResult, most: number): Slots {
  const cleared = result.sharer === slots.suspect ? { ...slots, suspect: null } : slots;
  return grown(cleared, result, most);
}

function grown(slots: Slots, result: SlotResult, most: number): Slots {
  const slowMs = SLOW_FACTOR * (slots.quietMs ?? Infinity) + SLOW_MS;
  if ((slots.smoothMs ?? 0) > slowMs && result.durationMs > slowMs) {
    return cut(slots, result, KEPT_SHARE);
  }
  if (!result.hadWaiting || slots.limit >= most) return slots;
  const isNearWall = slots.wall !== null && slots.limit >= slots.wall;
  const more = isNearWall ? 1 / (SLOW_GROWTH * slots.limit) : 1;
  const limit = Math.min(most, slots.limit + more);
  const isPassed = slots.wall !== null && limit >= slots.wall * WALL_PASSED;
  return { ...slots, limit, wall: isPassed ? null : slots.wall };
}

/** Gives way once for all attempts that were under way together. */
function cut(slots: Slots, { beganAt, durationMs, sharer }: SlotResult, kept: number): Slots {
  if (beganAt < slots.cutAt) return slots;
  if (sharer !== null && (slots.suspect === null || slots.suspect === sharer)) {
    return { ...slots, suspect: sharer };
  }
  const limit = Math.max(1, Math.floor(slots.limit * kept));
  return { ...slots, limit, wall: limit, cutAt: beganAt + durationMs, suspect: null };
}
