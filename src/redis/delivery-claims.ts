import type { Claim } from '../core/claim.ts';
import type { Delivery } from '../core/delivery.ts';
import type { GateLimits } from '../core/gate.ts';
import { readGate } from './gate-record.ts';
import type { Keys } from './keys.ts';

/** A place that a process which died has held lapses after this much more than the deadline, ms. */
const GRACE_MS = 5_000;

/**
 * What the scripts reply that claim: the hash of the gate, field by field, and for each delivery its
 * version, its document and the text of its event, or '' where that is gone.
 */
export type ClaimReply = [gate: string[], claims: string[]];

/** What the scripts need to know of a gate to claim deliveries there. */
export function gatePlan(keys: Keys, name: string, limits: GateLimits, now: number) {
  return {
    name,
    key: keys.gate(name),
    due: keys.due(name),
    places: keys.places(name),
    hold: keys.hold(name),
    gatesDue: keys.gatesDue,
    deliveries: keys.delivery(''),
    events: keys.event(''),
    limit: limits.concurrency,
    heldUntil: now + heldMs(limits),
    ...(limits.rate !== null && { paceMs: 1_000 / limits.rate }),
  };
}

/** For how long an attempt keeps others away, ms. */
export function heldMs({ deadlineMs }: GateLimits): number {
  return deadlineMs + GRACE_MS;
}

export function readClaims(gateName: string, [hash, claims]: ClaimReply): Claim[] {
  if (claims.length === 0) return [];
  const gate = readGate(gateName, pairs(hash));
  return Array.from({ length: claims.length / 3 }, (_, at) => {
    const [version = '', doc = '', body = ''] = claims.slice(at * 3);
    const stored = { version: Number(version), delivery: JSON.parse(doc) as Delivery };
    return { stored, gate, body: body === '' ? null : body };
  });
}

function pairs(flat: string[]): Record<string, string> {
  const entries = Array.from({ length: flat.length / 2 }, (_, at) =>
    flat.slice(at * 2, at * 2 + 2),
  );
  return Object.fromEntries(entries) as Record<string, string>;
}
