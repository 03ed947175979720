import type { AlertEntry } from '../core/alert/entry.ts';
import type { Claim, Attempt, Delivery, StoredDelivery } from '../core/delivery/delivery.ts';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../core/delivery/endpoint-state.ts';
import type { Receiver } from '../core/delivery/receiver.ts';

/** A system event with what follows from it: a delivery or an entry at least. */
export interface PlannedEvent {
  id: string;
  /** The exact JSON text to send. */
  body: string;
  deliveries: Delivery[];
  /** What alert rules have to judge of it. */
  entries?: AlertEntry[];
}

/** Claims made at a pool, and its slots as JSON or ''. */
export interface PoolClaims {
  claims: Claim[];
  slots: string;
  /** For how long the pace of the pool holds back what is due, ms; null where it does not. */
  heldMs: number | null;
}

/** A change of a delivery, by an attempt or by a user. */
interface DeliveryMove {
  before: StoredDelivery;
  after: Delivery;
  /** Proves the claim on it; absent for a change by a user. */
  token?: string;
  attempt?: Attempt;
  endpoint: StoredEndpoint;
  stateAfter?: EndpointState;
  slots?: string;
  pauseMs?: number;
  limits: EndpointLimits;
  events?: PlannedEvent[];
  /** The most deliveries of its pool to claim by the same step, and the token for them. */
  most: number;
  nextToken: string;
  now: number;
}

/** Reads and writes deliveries. */
export interface DeliveryStore {
  get(id: string): Promise<StoredDelivery | null>;
  getMany(ids: string[]): Promise<(StoredDelivery | null)[]>;
  /** The first outstanding delivery of the same ordering key; null for none. */
  firstInOrder(delivery: Delivery): Promise<string | null>;
  /** One atomic step; returns the claims it made, or which record had changed meanwhile. */
  move(move: DeliveryMove, askedAt?: number): Promise<PoolClaims | 'delivery' | 'endpoint'>;
}

interface PoolOptions {
  pool: string;
  limits: EndpointLimits;
}

/** Reads and writes endpoint state, and claims deliveries. */
export interface EndpointStore {
  get(receiver: Receiver): Promise<StoredEndpoint>;
  getMany(receivers: readonly Receiver[]): Promise<StoredEndpoint[]>;
  write(
    before: StoredEndpoint,
    after: EndpointState,
    options: { limits: EndpointLimits; now: number },
  ): Promise<boolean>;
  claim(
    request: PoolOptions & { most: number; token: string; askedAt: number },
  ): Promise<PoolClaims>;
  release(pool: PoolOptions, held: readonly { id: string; token: string }[]): Promise<number>;
  duePools(limit: number): Promise<{ pool: string; inMs: number }[]>;
  takeProbe(receiver: Receiver, deliveryId: string, limits: EndpointLimits): Promise<boolean>;
  retry(receiver: Receiver, limits: EndpointLimits): Promise<number>;
  countParked(receiver: Receiver): Promise<number>;
}

/** Remembers which message of a destination tells an alert. */
export interface AlertMessages {
  get(endpoint: string, alertId: string): Promise<string | null>;
  put(endpoint: string, alertId: string, message: string): Promise<void>;
}
