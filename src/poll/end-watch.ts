import type { Delivery } from '../core/delivery.ts';
import type { RunwatchEvent } from '../core/event.ts';
import type { StoredWatch, Watch, WatchKey } from '../core/watch.ts';

interface WatchStore {
  get(key: WatchKey): Promise<StoredWatch | null>;
  commit(change: {
    before: StoredWatch | null;
    after: Watch;
    events: RunwatchEvent[];
    deliveries: Delivery[];
  }): Promise<string[] | null>;
}

/**
 * The use case behind unwatching: an active watch is cancelled; its poll job ends itself when it
 * next runs, and a poll that is running finds the watch changed and tells nobody.
 * Returns a function that resolves with false when there is no such watch.
 */
export function createEndWatch(watches: WatchStore, now: () => number) {
  return async function endWatch(key: WatchKey): Promise<boolean> {
    for (;;) {
      const before = await watches.get(key);
      if (before === null) return false;
      if (before.watch.state !== 'active') return true;
      const after = {
        ...before.watch,
        state: 'cancelled' as const,
        nextPollAt: null,
        endedAt: now(),
      };
      if (await watches.commit({ before, after, events: [], deliveries: [] })) return true;
    }
  };
}
