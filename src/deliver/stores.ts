import type { Claim } from '../core/claim.ts';
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
  /** One step; returns what is claimed at its gate by it, or what had changed meanwhile. */
  move(move: {
    before: StoredDelivery;
    after: Delivery;
    attempt?: Attempt;
    gate: StoredGate;
    gateAfter?: Gate;
    limits: GateLimits;
    alerts?: PlannedAlert[];
    /** How many deliveries are claimed at the most. */
    most: number;
    now: number;
  }): Promise<Claim[] | 'delivery' | 'gate'>;
}

/** The gates that these use cases ask and write. */
export interface GateStore {
  get(name: string): Promise<StoredGate>;
  getMany(names: readonly string[]): Promise<StoredGate[]>;
  write(before: StoredGate, after: Gate, now: number): Promise<boolean>;
  claim(
    requests: { gate: string; limits: GateLimits; most: number }[],
    now: number,
  ): Promise<Claim[]>;
  dueBy(time: number, limit: number): Promise<{ gate: string; at: number }[]>;
  takeProbe(gate: string, deliveryId: string, limits: GateLimits): Promise<boolean>;
  parked(): Promise<string[]>;
  parkedAt(gate: string, limit: number): Promise<string[]>;
  mayRelease(gate: string, ms: number): Promise<boolean>;
  isProbed(gate: string): Promise<boolean>;
}
