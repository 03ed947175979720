import type { AlertEntry } from '../alert/entry.ts';
import type { Delivery } from './delivery.ts';

/** A system event with what follows from it. */
export interface PlannedEvent {
  id: string;
  /** The exact JSON text to send. */
  body: string;
  deliveries: Delivery[];
  /** What alert rules have to judge of it. */
  entries?: AlertEntry[];
}
