import type { StoredDelivery } from './delivery.ts';
import type { StoredGate } from './gate.ts';

/**
 * A delivery that one process may attempt now, with all that the attempt needs to know. It holds one
 * of the places of its gate until it moves on, or until the place lapses because that process died.
 */
export interface Claim {
  stored: StoredDelivery;
  gate: StoredGate;
  /** The exact text of the event; null when it is not in the store any more. */
  body: string | null;
}
