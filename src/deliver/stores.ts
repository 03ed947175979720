import type { Attempt, Delivery, StoredDelivery } from '../core/delivery.ts';
import type { Gate, GateLimits, StoredGate } from '../core/gate.ts';

/** An alert on its way to the operators' endpoint. */
export interface PlannedAlert {
  id: string;
  /** The exact text that is sent. */
  body: string;
  delivery: Delivery;
}

/** The deliveries that these use cases work on. */
export interface DeliveryStore {
  get(id: string): Promise<StoredDelivery | null>;
  getMany(ids: string[]): Promise<(StoredDelivery | null)[]>;
  /** One step; returns the ids of deliveries that are due now, or what had changed meanwhile. */
  move(move: {
    before: StoredDelivery;
    after: Delivery;
    attempt?: Attempt;
    gate: StoredGate;
    gateAfter?: Gate;
    limits: GateLimits;
    alerts?: PlannedAlert[];
    now: number;
  }): Promise<string[] | 'delivery' | 'gate'>;
}

/** The gates that these use cases ask and write. */
export interface GateStore {
  get(name: string): Promise<StoredGate>;
  write(before: StoredGate, after: Gate): Promise<boolean>;
  takePlace(
    request: { stored: StoredDelivery; gate: string; isProbe: boolean; limits: GateLimits },
    now: number,
  ): Promise<'go' | 'full' | 'probed' | 'changed' | 'behind' | { later: number }>;
  waiting(): Promise<string[]>;
  refill(gate: string, limits: GateLimits, now: number): Promise<string[]>;
  parked(): Promise<string[]>;
  parkedAt(gate: string, limit: number): Promise<string[]>;
  mayRelease(gate: string, ms: number): Promise<boolean>;
  isProbed(gate: string): Promise<boolean>;
}
