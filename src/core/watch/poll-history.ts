import type { PollResult } from '../run/snapshot.ts';

/** Why a run was read: it was due, or a list or its event stream gave a hint. */
export const POLL_MODES = ['single', 'list', 'stream'] as const;

export type PollMode = (typeof POLL_MODES)[number];

export const POLL_OUTCOMES = [
  'run',
  'not_found',
  'rejected',
  'unauthorized',
  'forbidden',
  'rate_limited',
  'unavailable',
  'invalid_response',
] as const satisfies readonly PollResult['kind'][];

/** One poll as the timeline shows it. */
export interface RecentPoll {
  /** When it began, milliseconds since the epoch. */
  at: number;
  mode: PollMode;
  outcome: PollResult['kind'];
  /** From its start to the write of its result, ms. */
  durationMs: number;
  /** From when it was due to its start, ms. */
  lagMs: number;
}

/** The last polls of a watch: a ring buffer in one text of fixed slots, so that a poll writes one in place. */
export interface PollHistory {
  /** How many polls have been recorded since the registration. */
  count: number;
  /** The slots that were written; see {@link SLOT}. */
  text: string;
}

export const NO_POLLS: PollHistory = { count: 0, text: '' };

/** Most polls that a watch keeps. */
export const MOST_POLLS = 60;

/** Characters of one slot, by field; each has six bits. */
const WIDTH = { at: 6, duration: 3, lag: 4, what: 1 };

export const SLOT = WIDTH.at + WIDTH.duration + WIDTH.lag + WIDTH.what;

const DIGITS = '-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz';

/** The history with one more poll. @param registeredAt what times count from */
export function recordPoll(
  { count, text }: PollHistory,
  poll: RecentPoll,
  registeredAt: number,
): PollHistory {
  const from = slotOf(count) * SLOT;
  const slot = slotText(poll, registeredAt);
  return { count: count + 1, text: text.slice(0, from) + slot + text.slice(from + SLOT) };
}

/** The slot that the poll after so many goes to. */
export function slotOf(count: number): number {
  return count % MOST_POLLS;
}

/** The polls of a history, oldest first. */
export function recentPolls({ count, text }: PollHistory, registeredAt: number): RecentPoll[] {
  const kept = Math.min(count, MOST_POLLS);
  return Array.from({ length: kept }, (_, at) => {
    const from = slotOf(count - kept + at) * SLOT;
    return readSlot(text.slice(from, from + SLOT), registeredAt);
  });
}

function slotText({ at, mode, outcome, durationMs, lagMs }: RecentPoll, registeredAt: number) {
  const what = POLL_MODES.indexOf(mode) * POLL_OUTCOMES.length + POLL_OUTCOMES.indexOf(outcome);
  return (
    encode(at - registeredAt, WIDTH.at) +
    encode(durationMs, WIDTH.duration) +
    encode(lagMs, WIDTH.lag) +
    encode(what, WIDTH.what)
  );
}

function readSlot(slot: string, registeredAt: number): RecentPoll {
  let from = 0;
  const next = (width: number) => decode(slot.slice(from, (from += width)));
  const [at, durationMs, lagMs] = [next(WIDTH.at), next(WIDTH.duration), next(WIDTH.lag)];
  const what = next(WIDTH.what);
  const mode = Math.floor(what / POLL_OUTCOMES.length);
  return {
    at: registeredAt + at,
    mode: POLL_MODES[mode] ?? 'single',
    outcome: POLL_OUTCOMES[what % POLL_OUTCOMES.length] ?? 'run',
    durationMs,
    lagMs,
  };
}

/** A whole number in so many digits; one that does not fit becomes the nearest that does. */
function encode(value: number, width: number): string {
  let rest = Math.min(Math.max(Math.round(value), 0), 64 ** width - 1);
  let text = '';
  for (let place = 0; place < width; place += 1) {
    text = (DIGITS[rest % 64] ?? '') + text;
    rest = Math.floor(rest / 64);
  }
  return text;
}

function decode(text: string): number {
  let value = 0;
  for (const digit of text) value = value * 64 + Math.max(0, DIGITS.indexOf(digit));
  return value;
}
