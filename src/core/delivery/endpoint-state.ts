import type { ClockStep } from '../clock.ts';
import type { Receiver } from './receiver.ts';

/**
 * The health of one receiver: whether deliveries may go out, and how their results change that. A
 * circuit breaker (Nygard, "Release It!") with pausing and disabling beside it. Times are
 * milliseconds since the epoch.
 */
export interface EndpointState {
  /** `open`: most recent attempts failed; one at a time probes whether the receiver is back. */
  breaker: 'closed' | 'open';
  /** A user paused the endpoint. */
  paused: boolean;
  /** Why the endpoint gets nothing until a user resumes it; null while it is enabled. */
  disabled: { reason: 'gone' | 'failing'; at: number } | null;
  /** Results of the last minutes, the newest last. */
  minutes: { minute: number; delivered: number; failed: number }[];
  /** The first failure since the last success, and the number of failures since. */
  failingSince: number | null;
  failures: number;
  /** When an open breaker lets the next probe through. */
  probeAt: number | null;
  /** Failed probes in a row. */
  failedProbes: number;
  /** The receiver asked for no requests before this time (`Retry-After`). */
  throttledUntil: number | null;
  /** When that pause began; null without one. */
  throttledSince: number | null;
  /**
   * Its last attempt timed out, so it gets only one of the slots that it shares with other
   * webhooks.
   */
  timedOut: boolean;
  /** When the last `delivery.exhausted` event was raised. */
  exhaustedToldAt: number | null;
}

/** An endpoint's state as read from the store, with the version that a write must find unchanged. */
export interface StoredEndpoint {
  receiver: Receiver;
  state: EndpointState;
  /** Another one after each write; '' where nothing was written yet, or it was forgotten. */
  version: string;
}

/** How many attempts at an endpoint or an origin may run at a time, and how fast. */
export interface EndpointLimits {
  /** The most slots it can grow to. */
  most: number;
  /** Deliveries per second; null for no limit. */
  rate: number | null;
  /** Longest that one attempt takes, ms. */
  deadlineMs: number;
  /** The most events that one message covers while more of them wait; absent, each has its own message. */
  foldMost?: number;
}

/** Numbers of the delivery policy. */
const POLICY = {
  minuteMs: 60_000,
  windowMinutes: 5,
  leastAttempts: 10,
  failureShare: 0.7,
  firstProbeMs: 30_000,
  longestProbeMs: 600_000,
  disableAfterMs: 5 * 86_400_000,
  /** A pause that a receiver asks for is named from this length on. */
  toldPauseMs: 60_000,
  /** `delivery.exhausted` is raised at most this often per endpoint. */
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
  throttledSince: null,
  timedOut: false,
  exhaustedToldAt: null,
};

/** What the state allows for a delivery that is due. */
export type Permit =
  | { kind: 'send' }
  /** Send if no other delivery is probing at this moment, else park. */
  | { kind: 'probe' }
  | { kind: 'wait'; until: number }
  | { kind: 'park' }
  | { kind: 'skip' };

/** @param isUrgent a user asked for it now: it ignores an open breaker and a requested quiet */
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

/** The part of the state that decides about claims in the store. */
export interface ClaimRules {
  /** No claims before this time; a requested quiet. */
  from: number;
  /** Parked deliveries may be claimed from this time; null for never. */
  parkedFrom: number | null;
  /** Only one parked delivery at a time may be claimed. */
  probes: boolean;
  /** It gets only one of the slots that it shares. */
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

/** True where the receiver's state is the initial one, so that nothing needs to be stored. */
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

/**
 * The pause that the receiver asked for, where it lasts a minute or more: people hear of it, since
 * the breaker is closed and no attempt fails. Null for none.
 */
export function longPause(
  state: EndpointState,
  now: number,
): { since: number; until: number } | null {
  const { throttledSince: since, throttledUntil: until } = state;
  if (since === null || until === null) return null;
  return until > now && until - since >= POLICY.toldPauseMs ? { since, until } : null;
}

/** What an attempt shows about its endpoint. */
export type EndpointResult =
  | { kind: 'delivered' }
  | { kind: 'failed'; timedOut?: boolean }
  /** It asked for quiet; this says nothing of its health. */
  | { kind: 'throttled'; until: number }
  /** It answered that it no longer exists (410). */
  | { kind: 'gone' };

/** Changes of state that raise a system event. */
export type EndpointAlert = 'endpoint.failing' | 'endpoint.recovered' | 'endpoint.disabled';

/** The state after a result, and the event to raise, if any. */
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
      return { state: afterThrottled(state, result.until, now), alert: null };
    case 'gone':
      return {
        state: { ...state, disabled: state.disabled ?? { reason: 'gone', at: now } },
        alert: state.disabled === null ? 'endpoint.disabled' : null,
      };
  }
}

function afterThrottled(state: EndpointState, until: number, now: number): EndpointState {
  const since = isThrottled(state, now) ? state.throttledSince : null;
  const throttledUntil = Math.max(state.throttledUntil ?? 0, until);
  return { ...state, throttledUntil, throttledSince: since ?? now };
}

function isThrottled({ throttledUntil }: EndpointState, now: number): boolean {
  return throttledUntil !== null && throttledUntil > now;
}

function afterDelivered(
  state: EndpointState,
  now: number,
): { state: EndpointState; alert: EndpointAlert | null } {
  // A requested quiet remains: this answer may belong to a request from before it.
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
    // Attempts that started before the breaker opened are no probes and change nothing.
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

/** Ends a pause and a requested quiet; a disabled endpoint starts with a clean state. */
export function resume(state: EndpointState): EndpointState {
  return state.disabled === null
    ? { ...state, paused: false, throttledUntil: null, throttledSince: null }
    : { ...state, ...NEW_STATE };
}

/** Sends what is waiting now: ends a requested quiet, and probes at once. */
export function retryNow(state: EndpointState, now: number): EndpointState {
  return {
    ...state,
    throttledUntil: null,
    throttledSince: null,
    probeAt: state.breaker === 'open' ? now : state.probeAt,
  };
}

/** The state once a step was taken out of the clock by which its times were written. */
export function movedBack(state: EndpointState, { ms, from }: ClockStep): EndpointState {
  const back = (at: number | null) => (at !== null && at >= from ? at - ms : at);
  return {
    ...state,
    failingSince: back(state.failingSince),
    probeAt: back(state.probeAt),
    throttledSince: back(state.throttledSince),
    throttledUntil: back(state.throttledUntil),
  };
}

/** Whether another `delivery.exhausted` event for this endpoint is due. */
export function tellsExhausted(state: EndpointState, now: number): boolean {
  return now - (state.exhaustedToldAt ?? -Infinity) >= POLICY.exhaustedEveryMs;
}
