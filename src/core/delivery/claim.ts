import type { StoredDelivery } from './delivery.ts';
import type { StoredEndpoint } from './endpoint-state.ts';

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
