import type { AttemptOutcome } from './delivery.ts';

/**
 * How many concurrent attempts a receiver gets. The limit starts low, grows while deliveries wait
 * and attempts succeed, and shrinks at signs of overload. This follows TCP's congestion window (RFC
 * 5681), with latency as a signal as in TCP Vegas. Times are milliseconds since the epoch,
 * durations ms.
 */
export interface Slots {
  /** Concurrent attempts; the fraction counts towards the next one. */
  limit: number;
  /**
   * The limit at which overload last showed: beyond it growth is slow. Null before the first
   * overload.
   */
  wall: number | null;
  /** Smoothed latency under low concurrency; null before the first answer. */
  quietMs: number | null;
  /** Smoothed latency. */
  smoothMs: number | null;
  /** When the limit last shrank; attempts begun before say nothing about the new limit. */
  cutAt: number;
  /** The only webhook that showed overload since then; a second one has to agree. Null for none. */
  suspect: string | null;
}

/** Slots while nothing is known of the receiver. */
export const FIRST_SLOTS = 4;

/** After this long without attempts the state is forgotten, ms. */
export const SLOTS_KEPT_MS = 60_000;

export const NEW_SLOTS: Slots = {
  limit: FIRST_SLOTS,
  wall: null,
  quietMs: null,
  smoothMs: null,
  cutAt: 0,
  suspect: null,
};

/** What an attempt shows about its receiver's capacity. */
export interface SlotResult {
  kind: 'delivered' | 'overloaded' | 'timeout' | 'failed';
  beganAt: number;
  durationMs: number;
  /** Other deliveries were waiting when this one was claimed. */
  hadWaiting: boolean;
  /** The URL of the webhook, where several share the slots; two must agree to shrink the limit. */
  sharer: string | null;
}

/** What the outcome of an attempt shows. */
export function slotResultOf(
  outcome: AttemptOutcome,
  about: Pick<SlotResult, 'hadWaiting' | 'sharer'>,
): SlotResult {
  const { at, durationMs } = outcome.attempt;
  return { kind: kindOf(outcome), beganAt: at, durationMs, ...about };
}

function kindOf({ kind, attempt: { status, error } }: AttemptOutcome): SlotResult['kind'] {
  if (kind === 'delivered') return 'delivered';
  if (error?.code === 'timeout') return 'timeout';
  const isOverload = status === 429 || status === 503 || error?.code === 'refused';
  return isOverload ? 'overloaded' : 'failed';
}

/** The share of the limit that remains after overload or slow answers. */
const KEPT_SHARE = 0.75;
const KEPT_AFTER_TIMEOUT = 0.5;

/** Latency above this multiple of the quiet latency, plus some ms, counts as overload. */
const SLOW_FACTOR = 2.5;
const SLOW_MS = 50;

/** Up to this concurrency, measured latency updates the quiet latency. */
const QUIET_BELOW = 2 * FIRST_SLOTS;

/** Weight of a new latency: one part in this many, or in the number of slots if that is greater. */
const SMOOTHED_OVER = 8;

/** Beyond the wall, the limit grows by one per this many answers for each slot. */
const SLOW_GROWTH = 12;

/** Past the wall by this factor, the wall is forgotten. */
const WALL_PASSED = 1.5;

/** The slots after the result of an attempt. @param most the upper bound of the limit */
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

/** Shrinks the limit once for all attempts that were under way together. */
function cut(slots: Slots, { beganAt, durationMs, sharer }: SlotResult, kept: number): Slots {
  if (beganAt < slots.cutAt) return slots;
  if (sharer !== null && (slots.suspect === null || slots.suspect === sharer)) {
    return { ...slots, suspect: sharer };
  }
  const limit = Math.max(1, Math.floor(slots.limit * kept));
  return { ...slots, limit, wall: limit, cutAt: beganAt + durationMs, suspect: null };
}
