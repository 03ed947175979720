import { censoredSamples } from '../core/cadence/phase.ts';
import type { WatchChange } from '../core/watch/watch-change.ts';
import type { StoredWatch, WatchKey } from '../core/watch/watch.ts';

interface WatchStore {
  get(key: WatchKey): Promise<StoredWatch | null>;
  commit(change: WatchChange): Promise<string[] | null>;
}

interface EndWatchDependencies {
  watches: WatchStore;
  now: () => number;
}

/**
 * The use case behind unwatching: an active watch is cancelled and leaves the schedule; a poll
 * that is under way finds the watch changed and makes no event.
 * Returns a function that resolves with false when there is no such watch.
 */
export function createEndWatch({ watches, now }: EndWatchDependencies) {
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
      const samples = censoredSamples(before.watch);
      const schedule = { does: 'leave' as const };
      if (await watches.commit({ before, after, events: [], deliveries: [], samples, schedule })) {
        return true;
      }
    }
  };
}
