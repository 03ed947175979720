import type { Attempt, Delivery, StoredDelivery, Wish } from '../core/delivery/delivery.ts';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../core/delivery/endpoint-state.ts';
import type { Receiver } from '../core/delivery/receiver.ts';
import type {
  AttemptStep,
  DeliveryStep,
  NextClaims,
  PoolClaims,
  ReplayRequest,
} from '../core/delivery/outbox.ts';
import type { WatchKey } from '../core/watch/watch.ts';

/** Reads deliveries. */
export interface DeliveryStore {
  get(id: string): Promise<StoredDelivery | null>;
  getMany(ids: readonly string[]): Promise<(StoredDelivery | null)[]>;
  /** The oldest outstanding deliveries of a watch. */
  outstandingOf(watch: WatchKey, limit: number): Promise<StoredDelivery[]>;
}

/** Reads and writes endpoint state. */
export interface EndpointStore {
  get(receiver: Receiver): Promise<StoredEndpoint>;
  getMany(receivers: readonly Receiver[]): Promise<StoredEndpoint[]>;
  write(
    before: StoredEndpoint,
    after: EndpointState,
    options: { limits: EndpointLimits; now: number },
  ): Promise<boolean>;
}

interface PoolOptions {
  pool: string;
  limits: EndpointLimits;
}

/** Deliveries that are due, their claims, and the atomic steps by which they move on. */
export interface Outbox {
  /** Adds those that are not there yet: they are due at once. */
  add(deliveries: readonly Delivery[]): Promise<void>;
  claim(request: PoolOptions & NextClaims & { askedAt: number }): Promise<PoolClaims>;
  release(pool: PoolOptions, held: readonly { id: string; token: string }[]): Promise<number>;
  /** Returns the claims that it made, or which record had changed meanwhile. */
  recordAttempt(step: AttemptStep): Promise<PoolClaims | 'delivery' | 'endpoint' | Wish>;
  /** Postpones, parks, skips or supersedes a delivery without an attempt. */
  withhold(step: DeliveryStep): Promise<PoolClaims | 'delivery' | Wish>;
  /** Makes a delivery due, also a settled one, or when its attempt ends. @returns false where it has changed */
  requeue(step: DeliveryStep): Promise<boolean>;
  duePools(limit: number): Promise<{ pool: string; inMs: number }[]>;
  retry(receiver: Receiver, limits: EndpointLimits): Promise<number>;
  countParked(receiver: Receiver): Promise<number>;
  takeProbe(receiver: Receiver, deliveryId: string, limits: EndpointLimits): Promise<boolean>;
  /** The first outstanding delivery of the same ordering key; null for none. */
  firstInOrder(delivery: Delivery): Promise<string | null>;
  /** The token of the claim on a delivery; undefined for none. */
  tokenOf(id: string): Promise<string | undefined>;
}

/** The deliveries that users want sent again. */
export interface ReplayRequests {
  nextReplays(limit: number): Promise<ReplayRequest[]>;
  endReplays(requests: readonly ReplayRequest[]): Promise<void>;
  /** The right to work them off. */
  replayLease: {
    /** Takes the lease, or renews it. @returns false while another token holds it */
    take(token: string, ms: number): Promise<boolean>;
    end(token: string): Promise<void>;
  };
}

/** The rotated secrets of endpoints, sealed. */
export interface SecretStore {
  get(endpoint: string): Promise<string | null>;
  all(): Promise<Map<string, string>>;
  /** @returns false when the value has changed */
  replace(endpoint: string, before: string | null, after: string): Promise<boolean>;
  /** @returns false when the value has changed */
  remove(endpoint: string, before: string): Promise<boolean>;
}

/** An attempt in the trace of a run. */
interface AttemptTrace {
  /** What the receiver continues the trace by: the value of its `traceparent` header. */
  traceparent: string;
  end(attempt: Attempt): void;
}

/** Begins to trace the attempt at a delivery; null where it is in no trace. */
export type TraceAttempt = (delivery: Delivery) => AttemptTrace | null;

/** Remembers which message at a destination shows an alert, or the subject of its mails. */
export interface AlertMessages {
  get(endpoint: string, alertId: string): Promise<string | null>;
  put(endpoint: string, alertId: string, message: string): Promise<void>;
}
