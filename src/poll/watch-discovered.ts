import { register, type RegisterDefaults } from '../core/register.ts';
import type { WatchChange } from '../core/watch-change.ts';
import { watchId, type StoredWatch, type Subscription, type WatchKey } from '../core/watch.ts';

interface WatchStore {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
}

interface PollJobs {
  ensure(ids: string[]): Promise<void>;
}

export interface WatchDiscoveredDependencies {
  watches: WatchStore;
  jobsOf: (source: string) => PollJobs | undefined;
  /** Who is told of runs that nobody has registered. */
  subscriptions: Subscription[];
  defaults: RegisterDefaults;
  now: () => number;
}

/**
 * Watches runs that nobody watches yet. A run that is watched already, or was, stays as it is, so
 * that this can be done again and again. Returns a function that resolves with how many were new.
 */
export function createWatchDiscovered(deps: WatchDiscoveredDependencies) {
  const { watches, jobsOf, subscriptions, defaults, now } = deps;
  return async function watchDiscovered(source: string, runIds: string[]): Promise<number> {
    const keys = runIds.map((runId) => ({ source, runId }));
    const stored = await watches.getMany(keys);
    const changes = keys
      .filter((_, at) => stored[at] === null)
      .map((key): WatchChange => {
        const { watch } = register(null, { ...key, subscriptions }, { now: now(), defaults });
        return { before: null, after: watch, events: [], deliveries: [], lessons: [] };
      });
    // Whoever has registered a run meanwhile has said who is to be told of it.
    const written = changes.length === 0 ? [] : await watches.commitMany(changes);
    const created = changes.flatMap(({ after }, at) => (written[at] ? [watchId(after)] : []));
    const orphans = stored.flatMap((one) => (isUntouched(one) ? [watchId(one.watch)] : []));
    await jobsOf(source)?.ensure([...created, ...orphans]);
    return created.length;
  };
}

/** Whether a watch may be one that a process left without a job when it died right here. */
function isUntouched(stored: StoredWatch | null): stored is StoredWatch {
  return stored !== null && stored.watch.state === 'active' && stored.watch.polls === 0;
}
