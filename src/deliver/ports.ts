import type { Claim, Attempt, Delivery, StoredDelivery } from '../core/delivery/delivery.ts';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../core/delivery/endpoint-state.ts';
import type { Receiver } from '../core/delivery/receiver.ts';

/** An event about runwatch itself, on its way to the endpoints that name its type. */
export interface PlannedEvent {
  id: string;
  /** The exact text that is sent. */
  body: string;
  deliveries: Delivery[];
}

/** What was claimed at a pool, and the slots that it has, as JSON or ''. */
export interface PoolClaims {
  claims: Claim[];
  slots: string;
}

/** A delivery that moves on by an attempt, or by hand. */
interface DeliveryMove {
  before: StoredDelivery;
  after: Delivery;
  /** The claim on it; absent where it is moved by hand. */
  token?: string;
  attempt?: Attempt;
  endpoint: StoredEndpoint;
  stateAfter?: EndpointState;
  slots?: string;
  pauseMs?: number;
  limits: EndpointLimits;
  events?: PlannedEvent[];
  /** How many deliveries of its pool are claimed at the most, and by which token. */
  most: number;
  nextToken: string;
  now: number;
}

/** The deliveries that these use cases work on. */
export interface DeliveryStore {
  get(id: string): Promise<StoredDelivery | null>;
  getMany(ids: string[]): Promise<(StoredDelivery | null)[]>;
  /** The first of the deliveries that keep an order with this one; null where it is in none. */
  firstInOrder(delivery: Delivery): Promise<string | null>;
  /** One step; returns what is claimed by it, or what had changed meanwhile. */
  move(move: DeliveryMove, askedAt?: number): Promise<PoolClaims | 'delivery' | 'endpoint'>;
}

interface PoolOptions {
  pool: string;
  limits: EndpointLimits;
}

/** The endpoints that these use cases ask and write. */
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
