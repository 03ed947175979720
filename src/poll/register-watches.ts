import { planDeliveries, type EndpointFilter } from '../core/delivery.ts';
import {
  register,
  type RegisterDefaults,
  type Registered,
  type Registration,
} from '../core/register.ts';
import type { WatchChange } from '../core/watch-change.ts';
import { watchId, type StoredWatch, type Watch, type WatchKey } from '../core/watch.ts';
import { groupBySource } from './reconcile.ts';

interface WatchStore {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
}

interface PollJobs {
  ensure(ids: string[], deadlineOf: (id: string) => number): Promise<void>;
  hasten(id: string, deadline: number): Promise<void>;
}

export interface RegisterDependencies {
  watches: WatchStore;
  jobsOf: (source: string) => PollJobs | undefined;
  /** By when a watch should be polled. */
  deadlineOf: (watch: Watch) => number;
  dispatch: (gates: string[]) => void;
  wants: EndpointFilter;
  defaults: RegisterDefaults;
  now: () => number;
}

/**
 * The use case behind registration: new watches get a poll job, standing ones take the subscriptions
 * in, and who subscribes late to a run that has ended is told at once. Each registration is atomic;
 * what loses a race against another writer is tried again on what that writer left.
 * Returns a function that gives one result per registration, in order.
 */
export function createRegisterWatches(deps: RegisterDependencies) {
  return async function registerWatches(requests: Registration[]): Promise<Registered[]> {
    const results: Registered[] = [];
    let open = requests.map((request, at) => ({ request, at }));
    while (open.length > 0) {
      const stored = await deps.watches.getMany(open.map(({ request }) => request));
      const round = open.map((one, index) => attempt(deps, one.request, stored[index] ?? null));
      const committed = await deps.watches.commitMany(round.map(({ change }) => change));
      const done = round.flatMap((step, index) => (committed[index] ? [step.registered] : []));
      await schedule(deps, done, committed);
      for (const [index, step] of round.entries()) {
        if (committed[index]) results[open[index]?.at ?? 0] = step.registered;
      }
      open = open.filter((_, index) => !committed[index]);
    }
    return results;
  };
}

function attempt(deps: RegisterDependencies, request: Registration, before: StoredWatch | null) {
  const now = deps.now();
  const registered = register(before?.watch ?? null, request, {
    now,
    defaults: deps.defaults,
  });
  const { watch, added } = registered;
  const late = watch.notice && { id: watch.notice.eventId, type: watch.notice.type };
  const deliveries = planDeliveries(watch, late ? [late] : [], added, {
    wants: deps.wants,
    now,
  });
  return { registered, change: { before, after: watch, events: [], deliveries } };
}

/** A process that dies before this has run leaves the rest to the reconciler and the next look. */
async function schedule(
  deps: RegisterDependencies,
  done: Registered[],
  committed: (string[] | null)[],
): Promise<void> {
  const active = done.flatMap(({ watch }) => (watch.state === 'active' ? [watch] : []));
  for (const [source, watches] of groupBySource(active)) {
    const byId = new Map(watches.map((watch) => [watchId(watch), watch]));
    const deadlineOf = (id: string) => {
      const watch = byId.get(id);
      return watch === undefined ? deps.now() : deps.deadlineOf(watch);
    };
    await deps.jobsOf(source)?.ensure([...byId.keys()], deadlineOf);
  }
  // The job may be one of a former life, or set for a time that the watch accepts no more.
  for (const { watch } of done.filter(({ isHastened }) => isHastened)) {
    await deps.jobsOf(watch.source)?.hasten(watchId(watch), deps.deadlineOf(watch));
  }
  deps.dispatch(committed.flatMap((due) => due ?? []));
}
