/**
 * What the receivers of one origin showed in a row, with no 2xx between: those that were throttled, or
 * could not be reached. The origin itself is in trouble only where several agree.
 */
export interface OriginTrouble {
  receivers: readonly string[];
  /** Pauses in a row. */
  pauses: number;
}

export const NO_TROUBLE: OriginTrouble = { receivers: [], pauses: 0 };

const AGREEING = 3;
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 300_000;

/** What a result of one receiver says about its origin. */
export type OriginSign =
  | { kind: 'well' }
  /** `askedMs` is for how long it asked for quiet; null where it did not say. */
  | { kind: 'trouble'; askedMs: number | null }
  | { kind: 'none' };

/** What is known of an origin after a result, and for how long it is left alone; null for not at all. */
export function afterOriginSign(
  before: OriginTrouble,
  receiver: string,
  sign: OriginSign,
): { trouble: OriginTrouble; pauseMs: number | null } {
  if (sign.kind === 'none') return { trouble: before, pauseMs: null };
  if (sign.kind === 'well') return { trouble: NO_TROUBLE, pauseMs: null };
  const receivers = [...new Set([...before.receivers, receiver])];
  if (receivers.length < AGREEING) {
    return { trouble: { ...before, receivers }, pauseMs: null };
  }
  const pauseMs = Math.min(
    sign.askedMs ?? FIRST_PAUSE_MS * 2 ** Math.min(before.pauses, 8),
    LONGEST_PAUSE_MS,
  );
  return { trouble: { receivers: [], pauses: before.pauses + 1 }, pauseMs };
}
