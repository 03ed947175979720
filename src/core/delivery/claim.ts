import type { StoredDelivery } from '../delivery.ts';
import type { StoredEndpoint } from './endpoint-state.ts';

/**
 * A delivery that one process may attempt now, with all that the attempt needs to know. It holds a slot
 * of its receiver until it moves on, is given back, or its lease ends.
 */
export interface Claim {
  stored: StoredDelivery;
  endpoint: StoredEndpoint;
  /** Proves that this process still has it. */
  token: string;
  /** When it was asked for, by the monotonic clock of this process. */
  askedAt: number;
  /** Others were waiting for a slot at the time. */
  hadWaiting: boolean;
  /** The exact text of the event; null when it is not in the store any more. */
  body: string | null;
}
