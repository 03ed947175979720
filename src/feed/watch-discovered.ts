import { register, type RegisterDefaults } from '../core/watch/register.ts';
import { firstKind } from '../core/cadence/load.ts';
import type { WatchChange } from '../core/watch/watch-change.ts';
import type { StoredWatch, Subscription, WatchKey } from '../core/watch/watch.ts';
import type { Schedule } from '../poll/schedule.ts';

interface WatchStore {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
}

export interface WatchDiscoveredDependencies {
  watches: WatchStore;
  scheduleOf: (source: string) => Pick<Schedule, 'entered'> | undefined;
  /** Subscriptions of runs that were discovered, not registered. */
  subscriptions: () => Subscription[];
  defaults: RegisterDefaults;
  now: () => number;
}

/**
 * Watches runs that are not watched yet. A run that is watched already, or was, does not change, so
 * that this can be done again and again. Returns a function that resolves with how many were new.
 */
export function createWatchDiscovered(deps: WatchDiscoveredDependencies) {
  const { watches, scheduleOf, subscriptions, defaults, now } = deps;
  return async function watchDiscovered(source: string, runIds: string[]): Promise<number> {
    const keys = runIds.map((runId) => ({ source, runId }));
    const stored = await watches.getMany(keys);
    const changes = keys
      .filter((_, at) => stored[at] === null)
      .map((key): WatchChange => {
        const { watch } = register(
          null,
          { ...key, subscriptions: subscriptions() },
          { now: now(), defaults },
        );
        const schedule = { does: 'enter', withinMs: 0, kind: firstKind(watch) } as const;
        return { before: null, after: watch, events: [], deliveries: [], samples: [], schedule };
      });
    // A registration made meanwhile has its own subscriptions.
    const written = changes.length === 0 ? [] : await watches.commitMany(changes);
    const created = written.filter((due) => due !== null).length;
    await scheduleOf(source)?.entered(created);
    return created;
  };
}
