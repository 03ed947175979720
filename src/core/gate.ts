import type { Receiver } from './delivery/receiver.ts';
import { assertNever } from './errors.ts';

/**
 * The gate of an endpoint: whether deliveries may go out, and what their results make of that. A
 * circuit breaker in the sense of Nygard, "Release It!", with pausing and disabling beside it. Times
 * are milliseconds since the epoch.
 */
export interface Gate {
  /** `open`: most attempts failed of late, and one at a time probes whether that is over. */
  breaker: 'closed' | 'open';
  /** Somebody paused the endpoint. */
  paused: boolean;
  /** Why nothing is sent any more until somebody enables it again; null while that is not so. */
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
  /** When somebody was last told of a delivery that was given up. */
  exhaustedToldAt: number | null;
}

/** A gate as read from the store, with the version that a write must find unchanged. */
export interface StoredGate {
  name: Receiver;
  gate: Gate;
  version: number;
}

/** How many attempts at an endpoint there may be at a time, and how fast. */
export interface GateLimits {
  concurrency: number;
  /** Deliveries per second; null for as many as there are. */
  rate: number | null;
  /** Longest that one attempt takes, ms; a place is held this long and some more. */
  deadlineMs: number;
}

/** Policy of the gate; see the delivery policy for its numbers. */
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

export const NEW_GATE: Gate = {
  breaker: 'closed',
  paused: false,
  disabled: null,
  minutes: [],
  failingSince: null,
  failures: 0,
  probeAt: null,
  failedProbes: 0,
  throttledUntil: null,
  exhaustedToldAt: null,
};

/** What a gate says to a delivery that is due. */
export type Permit =
  | { kind: 'send' }
  /** Send if nobody else probes at this moment, else park. */
  | { kind: 'probe' }
  | { kind: 'wait'; until: number }
  | { kind: 'park' }
  | { kind: 'skip' };

export function permit(gate: Gate, now: number): Permit {
  if (gate.disabled !== null) return { kind: 'skip' };
  if (gate.paused) return { kind: 'park' };
  if (gate.throttledUntil !== null && gate.throttledUntil > now) {
    return { kind: 'wait', until: gate.throttledUntil };
  }
  if (gate.breaker === 'closed') return { kind: 'send' };
  return now >= (gate.probeAt ?? 0) ? { kind: 'probe' } : { kind: 'park' };
}

/** What an attempt says about its endpoint. */
export type GateResult =
  | { kind: 'delivered' }
  | { kind: 'failed' }
  /** It asked for quiet: no judgement of its health. */
  | { kind: 'throttled'; until: number }
  /** It said that it is there no more (410). */
  | { kind: 'gone' };

/** What operators are told of. */
export type GateAlert = 'endpoint.failing' | 'endpoint.recovered' | 'endpoint.disabled';

/** What a gate becomes by a result, and what is worth telling. */
export function afterResult(
  gate: Gate,
  result: GateResult,
  now: number,
): { gate: Gate; alert: GateAlert | null } {
  switch (result.kind) {
    case 'delivered':
      return afterDelivered(gate, now);
    case 'failed':
      return afterFailed(gate, now);
    case 'throttled':
      return {
        gate: { ...gate, throttledUntil: Math.max(gate.throttledUntil ?? 0, result.until) },
        alert: null,
      };
    case 'gone':
      return {
        gate: { ...gate, disabled: gate.disabled ?? { reason: 'gone', at: now } },
        alert: gate.disabled === null ? 'endpoint.disabled' : null,
      };
    default:
      return assertNever(result);
  }
}

function afterDelivered(gate: Gate, now: number): { gate: Gate; alert: GateAlert | null } {
  // A quiet that was asked for stands: this answer may be to a request from before it.
  const healthy = { ...gate, failures: 0, failingSince: null };
  if (gate.breaker === 'closed') {
    return { gate: { ...healthy, minutes: count(gate, now, 'delivered') }, alert: null };
  }
  return {
    gate: { ...healthy, breaker: 'closed', minutes: [], probeAt: null, failedProbes: 0 },
    alert: 'endpoint.recovered',
  };
}

function afterFailed(gate: Gate, now: number): { gate: Gate; alert: GateAlert | null } {
  const failingSince = gate.failingSince ?? now;
  const failures = gate.failures + 1;
  const failing = { ...gate, failingSince, failures, minutes: count(gate, now, 'failed') };
  const isHopeless =
    failures >= POLICY.leastAttempts && now - failingSince >= POLICY.disableAfterMs;
  if (gate.disabled === null && isHopeless) {
    const disabled = { reason: 'failing' as const, at: now };
    return { gate: { ...failing, disabled }, alert: 'endpoint.disabled' };
  }
  if (gate.breaker === 'open') {
    // Attempts that were on their way when the breaker opened are no probes: they move nothing.
    const wasProbe = now >= (gate.probeAt ?? 0);
    const failedProbes = wasProbe ? gate.failedProbes + 1 : gate.failedProbes;
    const probeAt = wasProbe ? now + probeDelay(failedProbes) : gate.probeAt;
    return { gate: { ...failing, failedProbes, probeAt }, alert: null };
  }
  if (!isFailing(failing)) return { gate: failing, alert: null };
  return {
    gate: { ...failing, breaker: 'open', probeAt: now + probeDelay(0), failedProbes: 0 },
    alert: 'endpoint.failing',
  };
}

function probeDelay(failedProbes: number): number {
  return Math.min(POLICY.firstProbeMs * 2 ** Math.min(failedProbes, 16), POLICY.longestProbeMs);
}

function count(gate: Gate, now: number, what: 'delivered' | 'failed'): Gate['minutes'] {
  const minute = Math.floor(now / POLICY.minuteMs);
  const kept = gate.minutes.filter((one) => one.minute > minute - POLICY.windowMinutes);
  const last = kept.at(-1);
  const current =
    last !== undefined && last.minute >= minute ? last : { minute, delivered: 0, failed: 0 };
  return [...kept.filter((one) => one !== current), { ...current, [what]: current[what] + 1 }];
}

function isFailing({ minutes }: Gate): boolean {
  const failed = minutes.reduce((sum, one) => sum + one.failed, 0);
  const attempts = minutes.reduce((sum, one) => sum + one.failed + one.delivered, 0);
  return attempts >= POLICY.leastAttempts && failed / attempts >= POLICY.failureShare;
}

export function pause(gate: Gate): Gate {
  return { ...gate, paused: true };
}

export function resume(gate: Gate): Gate {
  return { ...gate, paused: false };
}

/** Begins anew after `disabled`, without a grudge. */
export function enable(gate: Gate): Gate {
  return { ...NEW_GATE, paused: gate.paused };
}

/** Whether it is time to tell again that deliveries to this endpoint are given up. */
export function tellsExhausted(gate: Gate, now: number): boolean {
  return now - (gate.exhaustedToldAt ?? -Infinity) >= POLICY.exhaustedEveryMs;
}
