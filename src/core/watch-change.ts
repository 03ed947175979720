import type { Delivery } from './delivery.ts';
import type { RunwatchEvent } from './event.ts';
import type { Lesson } from './lesson.ts';
import type { StoredWatch, Watch } from './watch.ts';

/** A watch to write, with what it was when it was read and what its change gives rise to. */
export interface WatchChange {
  /** Null for a watch that is new. */
  before: StoredWatch | null;
  after: Watch;
  events: RunwatchEvent[];
  deliveries: Delivery[];
  /** What it tells of how long states last; absent for changes that no look at the run led to. */
  lessons?: Lesson[];
}
