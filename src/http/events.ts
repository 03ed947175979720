import type { EventFilter, LoggedEvent, LogReset } from '../core/event/event.ts';
import type { Page } from '../core/page.ts';
import { withMoments, type WhenRange } from '../core/time.ts';
import type { Process } from '../process.ts';

export interface EventQuery extends EventFilter, WhenRange {
  limit: number;
  order?: 'oldest' | 'newest' | undefined;
}

/** Reads the log of events. */
export class EventService {
  constructor(private readonly process: Process) {}

  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list({ limit, order, ...filter }: EventQuery): Promise<Page<LoggedEvent>> {
    const { now, stores } = this.process;
    return stores.events.list(withMoments(filter, now()), { limit, order });
  }

  /** The cursor of the latest event: what a follower of everything new starts from. */
  position(): Promise<string> {
    return this.process.stores.events.position();
  }

  /** What comes after `filter.after`; ends with the signal. */
  follow(
    filter: EventFilter & { after: string },
    signal: AbortSignal,
  ): AsyncIterable<LoggedEvent | LogReset> {
    return this.process.stores.events.follow(filter, signal);
  }
}
