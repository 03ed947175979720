import { afterAttemptAt, NEW_SLOTS, type Slots } from '../../src/core/delivery/slots.ts';
import type { ReceiverModel } from './receiver-models.ts';

/** Deadline of an attempt, ms. */
const DEADLINE_MS = 15_000;

/** When an attempt that failed is made again, ms; the first delays of the delivery policy. */
const RETRY_MS = [5_000, 60_000, 300_000];

/** The most attempts at a time, as by default. */
const MOST = 128;

export interface Drained {
  /** When the last of them was delivered, virtual ms. */
  ms: number;
  timeouts: number;
  /** Most requests in flight at a time. */
  peak: number;
}

interface Flight {
  endsAt: number;
  beganAt: number;
  tries: number;
  hadWaiting: boolean;
  answer: ReturnType<ReceiverModel['answer']>;
}

/**
 * Sends so many deliveries, all due at the start, to a receiver in virtual time.
 * @param fixed attempts at a time, where they do not follow the receiver
 */
export function drain(model: ReceiverModel, deliveries: number, fixed: number | null): Drained {
  const state = {
    now: 0,
    pausedUntil: 0,
    left: deliveries,
    slots: fixed === null ? NEW_SLOTS : { ...NEW_SLOTS, limit: fixed },
    /** Deliveries that were not tried yet. */
    fresh: deliveries,
    /** Those that failed, the next one first. */
    retries: [] as { at: number; tries: number }[],
    flights: [] as Flight[],
    result: { ms: 0, timeouts: 0, peak: 0 },
  };
  // A receiver that only times out never has them all.
  while (state.left > 0 && state.result.timeouts < deliveries) {
    sendAll(state, model);
    const ends = Math.min(...state.flights.map(({ endsAt }) => endsAt));
    state.now = Math.max(state.now, Math.min(ends, nextStart(state)));
    const over = state.flights.filter(({ endsAt }) => endsAt <= state.now);
    state.flights = state.flights.filter(({ endsAt }) => endsAt > state.now);
    for (const flight of over) end(state, flight, fixed === null);
  }
  return { ...state.result, ms: state.left > 0 ? Infinity : state.now };
}

interface State {
  now: number;
  pausedUntil: number;
  left: number;
  slots: Slots;
  fresh: number;
  retries: { at: number; tries: number }[];
  flights: Flight[];
  result: Drained;
}

const isDue = ({ fresh, retries: [next], now }: State) =>
  fresh > 0 || (next !== undefined && next.at <= now);

function sendAll(state: State, model: ReceiverModel): void {
  const { now, flights, result } = state;
  while (now >= state.pausedUntil && flights.length < Math.floor(state.slots.limit)) {
    if (!isDue(state)) return;
    const tries = takeNext(state);
    const answer = model.answer(now, flights.length + 1);
    const endsAt = now + Math.min(answer.durationMs, DEADLINE_MS);
    flights.push({ endsAt, beganAt: now, tries, hadWaiting: isDue(state), answer });
    result.peak = Math.max(result.peak, flights.length);
  }
}

function takeNext(state: State): number {
  const [retry] = state.retries;
  if (retry !== undefined && retry.at <= state.now) {
    state.retries.shift();
    return retry.tries;
  }
  state.fresh -= 1;
  return 0;
}

/** When something may be sent that is not held up by the attempts under way. */
function nextStart(state: State): number {
  const { flights, slots, fresh, retries, now, pausedUntil } = state;
  if (flights.length >= Math.floor(slots.limit)) return Infinity;
  return Math.max(pausedUntil, fresh > 0 ? now : (retries[0]?.at ?? Infinity));
}

function end(state: State, flight: Flight, follows: boolean): void {
  const { now, result } = state;
  const { beganAt, answer, tries, hadWaiting } = flight;
  const isLate = answer.durationMs > DEADLINE_MS;
  const kind = isLate ? 'timeout' : answer.status === 200 ? 'delivered' : 'overloaded';
  if (kind === 'delivered') state.left -= 1;
  if (kind === 'timeout') result.timeouts += 1;
  if (answer.retryAfterMs !== undefined) {
    state.pausedUntil = Math.max(state.pausedUntil, now + answer.retryAfterMs);
    state.fresh += 1;
  } else if (kind !== 'delivered') {
    const retry = { at: now + (RETRY_MS[tries] ?? 300_000), tries: tries + 1 };
    const place = state.retries.findLastIndex(({ at }) => at <= retry.at) + 1;
    state.retries.splice(place, 0, retry);
  }
  if (!follows) return;
  const seen = { kind, beganAt, durationMs: now - beganAt, hadWaiting, sharer: null } as const;
  state.slots = afterAttemptAt(state.slots, seen, MOST);
}
