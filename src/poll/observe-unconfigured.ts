import type { Random } from '../core/backoff.ts';
import { planDeliveries, type Delivery, type EndpointFilter } from '../core/delivery/delivery.ts';
import type { NewMark } from '../core/event/event.ts';
import { nothingLearned } from '../core/cadence/hazard.ts';
import { NO_LOAD } from '../core/cadence/load.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import { observe } from '../core/watch/observe.ts';
import type { WatchChange } from '../core/watch/watch-change.ts';
import type { StoredWatch, Watch, WatchKey } from '../core/watch/watch.ts';

/** Watches read in one go. */
const CHUNK = 200;

interface WatchStore {
  list(
    filter: { state: readonly string[]; source: string },
    page: { limit: number; cursor?: string | undefined },
  ): Promise<{ items: Watch[]; nextCursor: string | null }>;
  get(key: WatchKey): Promise<StoredWatch | null>;
  commit(change: WatchChange): Promise<string[] | null>;
}

export interface ObserveUnconfiguredDependencies {
  watches: WatchStore;
  policy: PollPolicy;
  wants: EndpointFilter;
  dispatch: (pools: string[]) => void;
  newMark: NewMark;
  now: () => number;
  random: Random;
}

/**
 * The use case for watches of a source that no daemon has configured any more: nothing polls them, so
 * this is what makes them unreachable, and expire.
 * Returns a function that goes through the active watches of a source once.
 */
export function createObserveUnconfigured(deps: ObserveUnconfiguredDependencies) {
  return async function observeUnconfigured(source: string): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await deps.watches.list({ state: ['active'], source }, { limit: CHUNK, cursor });
      for (const watch of page.items) {
        if (!watch.unreachable || deps.now() >= watch.timeoutAt) await observeOne(deps, watch);
      }
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  };
}

async function observeOne(deps: ObserveUnconfiguredDependencies, key: WatchKey): Promise<void> {
  const before = await deps.watches.get(key);
  if (before === null || before.watch.state !== 'active') return;
  const now = deps.now();
  const message = `no source named ${key.source} is configured any more`;
  const { watch, events } = observe(
    before.watch,
    { kind: 'unavailable', message },
    // That the source says nothing of others either is no reason to wait for it.
    { ...deps, now, beganAt: now, answeredAt: now, ...UNPOLLED },
  );
  const isNews = events.length > 0 || before.watch.trouble === null;
  if (!isNews) return;
  const after = { ...watch, polls: before.watch.polls, lastPolledAt: before.watch.lastPolledAt };
  const deliveries: Delivery[] = planDeliveries(after, events, after.subscriptions, {
    wants: deps.wants,
    now,
  });
  const ended = after.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const due = await deps.watches.commit({ before, after, events, deliveries, ...ended });
  if (due !== null) deps.dispatch(due);
}

const UNPOLLED = {
  statistics: nothingLearned,
  load: NO_LOAD,
  lagMs: 0,
  isStreamed: false,
  openSince: null,
  closedFor: null,
};
