import { assertNever } from '../errors.ts';
import type { Receiver } from './receiver.ts';

/**
 * The health of one receiver: whether deliveries may go out, and what their results make of that. A
 * circuit breaker in the sense of Nygard, "Release It!", with pausing and disabling beside it. Times
 * are milliseconds since the epoch.
 */
export interface EndpointState {
  /** `open`: most attempts failed of late, and one at a time probes whether that is over. */
  breaker: 'closed' | 'open';
  /** A user paused the endpoint. */
  paused: boolean;
  /** Why nothing is sent any more until a user resumes it; null while that is not so. */
  disabled: { reason: 'gone' | 'failing'; at: number } | null;
  /** Results of the last minutes, the newest last. */
  minutes: { minute: number; delivered: number; failed: number }[];
  /** The first failure since anything was delivered, and how many there have been. */
  failingSince: number | null;
  failures: number;
  /** When an open breaker lets the next probe through. */
  probeAt: number | null;
  /** Probes in a row that failed. */
  failedProbes: number;
  /** Before this the receiver wants no requests (`Retry-After`). */
  throttledUntil: number | null;
  /** Its last attempt timed out, so it gets one at a time of what it shares with others. */
  timedOut: boolean;
  /** When an event last said that a delivery was given up. */
  exhaustedToldAt: number | null;
}

/** An endpoint's state as read from the store, with the version that a write must find unchanged. */
export interface StoredEndpoint {
  receiver: Receiver;
  state: EndpointState;
  version: number;
}

/** How many attempts at an endpoint, or at an origin, there may be at a time, and how fast. */
export interface EndpointLimits {
  /** At the most; slots follow the receiver up to here. */
  most: number;
  /** Deliveries per second; null for as many as there are. */
  rate: number | null;
  /** Longest that one attempt takes, ms. */
  deadlineMs: number;
}

/** See the delivery policy for its numbers. */
const POLICY = {
  minuteMs: 60_000,
  windowMinutes: 5,
  leastAttempts: 10,
  failureShare: 0.7,
  firstProbeMs: 30_000,
  longestProbeMs: 600_000,
  disableAfterMs: 5 * 86_400_000,
  /** Deliveries that are given up are told of at most this often per endpoint. */
  exhaustedEveryMs: 3_600_000,
};

export const NEW_STATE: EndpointState = {
  breaker: 'closed',
  paused: false,
  disabled: null,
  minutes: [],
  failingSince: null,
  failures: 0,
  probeAt: null,
  failedProbes: 0,
  throttledUntil: null,
  timedOut: false,
  exhaustedToldAt: null,
};

/** What the state says to a delivery that is due. */
export type Permit =
  | { kind: 'send' }
  /** Send if no other delivery probes at this moment, else park. */
  | { kind: 'probe' }
  | { kind: 'wait'; until: number }
  | { kind: 'park' }
  | { kind: 'skip' };

/** @param isUrgent a user asked for it now: it goes past an open breaker and a requested quiet */
export function permit(state: EndpointState, now: number, isUrgent = false): Permit {
  if (state.disabled !== null) return { kind: 'skip' };
  if (state.paused) return { kind: 'park' };
  if (isUrgent) return { kind: 'send' };
  if (state.throttledUntil !== null && state.throttledUntil > now) {
    return { kind: 'wait', until: state.throttledUntil };
  }
  if (state.breaker === 'closed') return { kind: 'send' };
  return now >= (state.probeAt ?? 0) ? { kind: 'probe' } : { kind: 'park' };
}

/** What decides about claims in the store, without the rest of the state. */
export interface ClaimRules {
  /** Nothing is claimed before; a requested quiet. */
  from: number;
  /** Parked deliveries are claimed from then on; null for not at all. */
  parkedFrom: number | null;
  /** Of the parked ones, one at a time is claimed. */
  probes: boolean;
  /** Of slots that it shares with others, it gets one. */
  isSlow: boolean;
}

export function claimRules(state: EndpointState): ClaimRules {
  const from = state.disabled === null ? (state.throttledUntil ?? 0) : 0;
  const isOpen = state.breaker === 'open' && state.disabled === null;
  const isShut = state.paused && state.disabled === null;
  return {
    from,
    parkedFrom: isShut ? null : isOpen ? (state.probeAt ?? 0) : 0,
    probes: isOpen,
    isSlow: state.timedOut,
  };
}

/** True where there is nothing about a receiver that has to be remembered. */
export function isWell(state: EndpointState, now: number): boolean {
  return (
    state.breaker === 'closed' &&
    !state.paused &&
    state.disabled === null &&
    state.failures === 0 &&
    !state.timedOut &&
    (state.throttledUntil ?? 0) <= now
  );
}

/** What an attempt says about its endpoint. */
export type EndpointResult =
  | { kind: 'delivered' }
  | { kind: 'failed'; timedOut?: boolean }
  /** It asked for quiet: no judgement of its health. */
  | { kind: 'throttled'; until: number }
  /** It said that it is there no more (410). */
  | { kind: 'gone' };

/** What a change of state is worth saying to operators. */
export type EndpointAlert = 'endpoint.failing' | 'endpoint.recovered' | 'endpoint.disabled';

/** What a state becomes by a result, and what is worth an event. */
export function afterResult(
  state: EndpointState,
  result: EndpointResult,
  now: number,
): { state: EndpointState; alert: EndpointAlert | null } {
  switch (result.kind) {
    case 'delivered':
      return afterDelivered(state, now);
    case 'failed':
      return afterFailed({ ...state, timedOut: result.timedOut === true }, now);
    case 'throttled':
      return {
        state: { ...state, throttledUntil: Math.max(state.throttledUntil ?? 0, result.until) },
        alert: null,
      };
    case 'gone':
      return {
        state: { ...state, disabled: state.disabled ?? { reason: 'gone', at: now } },
        alert: state.disabled === null ? 'endpoint.disabled' : null,
      };
    default:
      return assertNever(result);
  }
}

function afterDelivered(
  state: EndpointState,
  now: number,
): { state: EndpointState; alert: EndpointAlert | null } {
  // A quiet that was asked for stands: this answer may be to a request from before it.
  const healthy = { ...state, failures: 0, failingSince: null, timedOut: false };
  if (state.breaker === 'closed') {
    return { state: { ...healthy, minutes: count(state, now, 'delivered') }, alert: null };
  }
  return {
    state: { ...healthy, breaker: 'closed', minutes: [], probeAt: null, failedProbes: 0 },
    alert: 'endpoint.recovered',
  };
}

function afterFailed(
  state: EndpointState,
  now: number,
): { state: EndpointState; alert: EndpointAlert | null } {
  const failingSince = state.failingSince ?? now;
  const failures = state.failures + 1;
  const failing = { ...state, failingSince, failures, minutes: count(state, now, 'failed') };
  const isHopeless =
    failures >= POLICY.leastAttempts && now - failingSince >= POLICY.disableAfterMs;
  if (state.disabled === null && isHopeless) {
    const disabled = { reason: 'failing' as const, at: now };
    return { state: { ...failing, disabled }, alert: 'endpoint.disabled' };
  }
  if (state.breaker === 'open') {
    // Attempts that were on their way when the breaker opened are no probes: they move nothing.
    const wasProbe = now >= (state.probeAt ?? 0);
    const failedProbes = wasProbe ? state.failedProbes + 1 : state.failedProbes;
    const probeAt = wasProbe ? now + probeDelay(failedProbes) : state.probeAt;
    return { state: { ...failing, failedProbes, probeAt }, alert: null };
  }
  if (!isFailing(failing)) return { state: failing, alert: null };
  return {
    state: { ...failing, breaker: 'open', probeAt: now + probeDelay(0), failedProbes: 0 },
    alert: 'endpoint.failing',
  };
}

function probeDelay(failedProbes: number): number {
  return Math.min(POLICY.firstProbeMs * 2 ** Math.min(failedProbes, 16), POLICY.longestProbeMs);
}

function count(
  state: EndpointState,
  now: number,
  what: 'delivered' | 'failed',
): EndpointState['minutes'] {
  const minute = Math.floor(now / POLICY.minuteMs);
  const kept = state.minutes.filter((one) => one.minute > minute - POLICY.windowMinutes);
  const last = kept.at(-1);
  const current =
    last !== undefined && last.minute >= minute ? last : { minute, delivered: 0, failed: 0 };
  return [...kept.filter((one) => one !== current), { ...current, [what]: current[what] + 1 }];
}

function isFailing({ minutes }: EndpointState): boolean {
  const failed = minutes.reduce((sum, one) => sum + one.failed, 0);
  const attempts = minutes.reduce((sum, one) => sum + one.failed + one.delivered, 0);
  return attempts >= POLICY.leastAttempts && failed / attempts >= POLICY.failureShare;
}

export function pause(state: EndpointState): EndpointState {
  return { ...state, paused: true };
}

/** Ends a pause and a requested quiet; one that was disabled begins anew, without a grudge. */
export function resume(state: EndpointState): EndpointState {
  return state.disabled === null ? { ...state, paused: false, throttledUntil: null } : NEW_STATE;
}

/** Sends what waits now: ends a requested quiet, and probes at once. */
export function retryNow(state: EndpointState, now: number): EndpointState {
  return {
    ...state,
    throttledUntil: null,
    probeAt: state.breaker === 'open' ? now : state.probeAt,
  };
}

/** Whether it is time for another event that deliveries to this endpoint are given up. */
export function tellsExhausted(state: EndpointState, now: number): boolean {
  return now - (state.exhaustedToldAt ?? -Infinity) >= POLICY.exhaustedEveryMs;
}
