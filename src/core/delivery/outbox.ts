import type { AlertEntry } from '../alert/entry.ts';
import type { Attempt, Delivery, StoredDelivery } from './delivery.ts';
import type { EndpointLimits, EndpointState, StoredEndpoint } from './endpoint-state.ts';
import type { OriginPause } from './receiver.ts';

/**
 * A delivery that one process may attempt now, with all data that the attempt needs. It holds a
 * slot of its receiver until it moves on, is released, or its lease expires.
 */
export interface Claim {
  stored: StoredDelivery;
  endpoint: StoredEndpoint;
  /** Proves that this process still holds the claim. */
  token: string;
  /** When the process asked for the claim, by its monotonic clock. */
  askedAt: number;
  /** Other deliveries were waiting for a slot at that time. */
  hadWaiting: boolean;
  /** The exact text of the event; null when the store no longer has it. */
  body: string | null;
}

/** A step of a delivery: as it was read, and what it becomes. */
export interface DeliveryStep {
  before: StoredDelivery;
  after: Delivery;
  /** Proves the claim on it; absent where no process has one. */
  token?: string;
  limits: EndpointLimits;
  now: number;
  /** What the step claims for the slot that it frees; absent, nothing. */
  next?: NextClaims;
  /** Nothing that a user wants of the delivery is left to do after this step. */
  meetsWish?: boolean;
}

/** The deliveries of the same pool that a step claims: how many at most, and by which token. */
export interface NextClaims {
  most: number;
  token: string;
}

/** The result of an attempt: the delivery is delivered, dead, or waits for its next attempt. */
export interface AttemptStep extends DeliveryStep {
  attempt: Attempt;
  /** What it shows about the endpoint and its pool; absent where another step writes that. */
  shows?: ReceiverChange;
}

/** What the result of an attempt changes besides its delivery. */
export interface ReceiverChange {
  endpoint: StoredEndpoint;
  stateAfter: EndpointState;
  /** What the slots of its pool become, as JSON; absent where they do not change. */
  slots?: string;
  /** Which receivers of its pool are paused; absent for none. */
  pause?: OriginPause;
  /** System events about the endpoint. */
  events: readonly PlannedEvent[];
}

/** A system event with what follows from it. */
export interface PlannedEvent {
  id: string;
  /** The exact JSON text to send. */
  body: string;
  deliveries: Delivery[];
  /** What alert rules have to judge of it. */
  entries?: AlertEntry[];
}

/** Claims made at a pool. */
export interface PoolClaims {
  claims: Claim[];
  /** The slots of the pool as JSON; '' where nothing is known of them. */
  slots: string;
  /** For how long the pace of the pool holds back what is due, ms; null where it does not. */
  heldMs: number | null;
}

/** A delivery to redeliver, to another endpoint if one is named. */
export interface ReplayRequest {
  id: string;
  to?: string | undefined;
}
