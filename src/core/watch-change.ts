import type { Delivery } from './delivery.ts';
import type { RunwatchEvent } from './event.ts';
import type { Lesson } from './lesson.ts';
import type { RequestKind } from './urgency.ts';
import type { StoredWatch, Watch } from './watch.ts';

/** A watch to write, with its state when read and what its change gives rise to. */
export interface WatchChange {
  /** Null for a watch that is new. */
  before: StoredWatch | null;
  after: Watch;
  events: RunwatchEvent[];
  deliveries: Delivery[];
  /** Duration samples; absent for changes without a poll. */
  lessons?: Lesson[];
  /** The change of the schedule in the same step; absent for none. */
  schedule?: ScheduleChange;
}

/** A change of the schedule. Times count from the write, by the store's clock. */
export type ScheduleChange =
  /** A claimed poll is done: the watch is due again, or leaves the schedule. */
  | {
      does: 'settle';
      token: string;
      next: { inMs: number; kind: RequestKind } | null;
      /** How long its permit counts after the answer; null where that need not be written. */
      permitMs: number | null;
    }
  /** The watch is due within a time, and enters the schedule unless it is there already. */
  | { does: 'enter'; withinMs: number; kind: RequestKind }
  /** The watch is due within a time, if it is in the schedule at all. */
  | { does: 'expedite'; withinMs: number }
  /** The watch leaves the schedule. A poll under way continues, and finds the watch changed. */
  | { does: 'leave' };
