/**
 * Receivers of one origin that were throttled or unreachable, in a row without a 2xx between. Only
 * when several of them agree does the origin itself count as failing.
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

/** What a result of one receiver shows about its origin. */
export type OriginSign =
  | { kind: 'well' }
  /** `askedMs`: the quiet that it asked for; null where it gave none. */
  | { kind: 'trouble'; askedMs: number | null }
  | { kind: 'none' };

/** The origin's state after a result, and how long to pause attempts at it; null for no pause. */
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
