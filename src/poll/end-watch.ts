import { lessonsCutShort } from '../core/stage-lessons.ts';
import type { WatchChange } from '../core/watch-change.ts';
import { watchId, type StoredWatch, type WatchKey } from '../core/watch.ts';

interface WatchStore {
  get(key: WatchKey): Promise<StoredWatch | null>;
  commit(change: WatchChange): Promise<string[] | null>;
}

interface PollJobs {
  drop(id: string): Promise<void>;
  ensure(ids: string[]): Promise<void>;
}

interface EndWatchDependencies {
  watches: WatchStore;
  jobsOf: (source: string) => PollJobs | undefined;
  now: () => number;
}

/**
 * The use case behind unwatching: an active watch is cancelled and loses its poll job; a poll that
 * is running finds the watch changed and tells nobody.
 * Returns a function that resolves with false when there is no such watch.
 */
export function createEndWatch(deps: EndWatchDependencies) {
  const { watches, now } = deps;
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
      const lessons = lessonsCutShort(before.watch);
      if (await watches.commit({ before, after, events: [], deliveries: [], lessons })) {
        await dropJob(deps, key);
        return true;
      }
    }
  };
}

/** Should the run be registered again meanwhile, the job that is dropped may be the new one's. */
async function dropJob({ watches, jobsOf }: EndWatchDependencies, key: WatchKey): Promise<void> {
  const jobs = jobsOf(key.source);
  await jobs?.drop(watchId(key));
  const current = await watches.get(key);
  if (current?.watch.state === 'active') await jobs?.ensure([watchId(key)]);
}
