import type { Claim, Delivery } from '../../core/delivery/delivery.ts';
import type { EndpointLimits } from '../../core/delivery/endpoint-state.ts';
import { FOLD_ABOVE } from '../../core/delivery/fold.ts';
import { isOrigin, type Receiver } from '../../core/delivery/receiver.ts';
import { FIRST_SLOTS, SLOTS_KEPT_MS } from '../../core/delivery/slots.ts';
import { readEndpoint } from './endpoint-record.ts';
import type { Keys } from '../keys.ts';

/** A wish for deliveries of one pool. */
export interface ClaimRequest {
  pool: string;
  limits: EndpointLimits;
  /** How many at most. */
  most: number;
  /** Proves the claims that are made. */
  token: string;
  /** When this is asked, by the monotonic clock. */
  askedAt: number;
}

/**
 * The reply of the scripts that claim: the slots of the pool as JSON or '', whether more is due, a
 * list of receivers, and for how long the pace holds back what is due, in ms, or -1. Each has its name, its state's hash, and for each delivery version,
 * document and the text of its event, or '' where that is gone.
 */
export type ClaimReply = [
  slots: string,
  isWaiting: number,
  found: (string | string[])[],
  heldMs: number,
];

/** What was claimed at a pool. */
export interface PoolClaims {
  claims: Claim[];
  /** The slots as they stand, as JSON; '' where nothing is known of them. */
  slots: string;
  /** For how long the pace holds back what is due, ms; null where it does not. */
  heldMs: number | null;
}

/** Twice the deadline: a process that sent in time has written the result by then, ms. */
export function leaseMs({ deadlineMs }: EndpointLimits): number {
  return 2 * deadlineMs;
}

/** Which of four claims goes to the newest delivery: spread evenly, whichever pools take turns. */
function turnOf(token = ''): number {
  const number = parseInt(token.slice(token.indexOf('.') + 1), 36) || 0;
  return (Math.imul(number, 2_654_435_761) >>> 16) % 4;
}

/** What the scripts need to know of a pool to claim deliveries there. */
export function claimPlan(
  keys: Keys,
  { pool, limits, token }: Pick<ClaimRequest, 'pool' | 'limits'> & { token?: string },
) {
  return {
    pool,
    isShared: isOrigin(pool),
    first: Math.min(FIRST_SLOTS, limits.most),
    limit: limits.most,
    leaseMs: leaseMs(limits),
    ...(limits.rate !== null && { paceMs: 1_000 / limits.rate }),
    ...(limits.foldMost !== undefined && { foldMost: limits.foldMost, foldAbove: FOLD_ABOVE }),
    token: token ?? '',
    turn: turnOf(token),
    states: keys.endpointState(''),
    parked: keys.parked(''),
    probes: keys.probe(''),
    dues: keys.due(''),
    deliveries: keys.delivery(''),
    events: keys.event(''),
    takens: keys.taken(''),
    taken: keys.taken(pool),
    slots: keys.slots(pool),
    slotsKeptMs: SLOTS_KEPT_MS,
    hold: keys.hold(pool),
    poolDue: keys.poolDue(pool),
    poolsDue: keys.poolsDue,
    claims: keys.deliveryClaims,
  };
}

/** What scripts find by the name of a receiver; of that for which they run, it is known before. */
export function receiverKeys(keys: Keys, receiver: Receiver): string[] {
  const { endpointState, due, parked, probe, taken } = keys;
  return [endpointState, due, parked, probe, taken].map((key) => key(receiver));
}

export function readClaims(
  [slots, isWaiting, found, heldMs]: ClaimReply,
  { token, askedAt }: Pick<ClaimRequest, 'token' | 'askedAt'>,
): PoolClaims {
  const claims: Claim[] = [];
  for (let at = 0; at < found.length; at += 3) {
    const [name, hash, parts] = found.slice(at, at + 3) as [string, string[], string[]];
    const endpoint = readEndpoint(name, pairs(hash));
    for (let part = 0; part < parts.length; part += 3) {
      const [version = '', doc = '', body = ''] = parts.slice(part, part + 3);
      const stored = { version: Number(version), delivery: JSON.parse(doc) as Delivery };
      const isBodyKept = body !== '';
      claims.push({
        stored,
        endpoint,
        token,
        askedAt,
        hadWaiting: isWaiting === 1,
        body: isBodyKept ? body : null,
      });
    }
  }
  return { claims, slots, heldMs: heldMs < 0 ? null : heldMs };
}

function pairs(flat: string[]): Record<string, string> {
  const entries = Array.from({ length: flat.length / 2 }, (_, at) =>
    flat.slice(at * 2, at * 2 + 2),
  );
  return Object.fromEntries(entries) as Record<string, string>;
}
