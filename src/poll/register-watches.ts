import { planDeliveries, type Delivery, type EndpointFilter } from '../core/delivery.ts';
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
 * in, and a late subscription to a run that has ended is notified at once. Each watch is written once,
 * atomically, with all that the requests ask of it; what loses a race against another writer is tried
 * again on what that writer left. Returns a function that gives one result per registration, in order.
 */
export function createRegisterWatches(deps: RegisterDependencies) {
  return async function registerWatches(requests: Registration[]): Promise<Registered[]> {
    const results: Registered[] = [];
    let open = groupByWatch(requests);
    while (open.length > 0) {
      const stored = await deps.watches.getMany(open.map(({ key }) => key));
      const round = open.map((group, index) => attempt(deps, group, stored[index] ?? null));
      const committed = await deps.watches.commitMany(round.map(({ change }) => change));
      const done = round.flatMap((step, index) => (committed[index] ? [step.outcome] : []));
      await schedule(deps, done, committed);
      const settled = round.filter((_, index) => committed[index]);
      for (const [at, one] of settled.flatMap(({ registered }) => registered)) results[at] = one;
      open = open.filter((_, index) => !committed[index]);
    }
    return results;
  };
}

/** The requests for one watch, and where each stands among all. */
interface RequestGroup {
  key: WatchKey;
  requests: { request: Registration; at: number }[];
}

function groupByWatch(requests: readonly Registration[]): RequestGroup[] {
  const groups = new Map<string, RequestGroup>();
  for (const [at, request] of requests.entries()) {
    const id = watchId(request);
    const group = groups.get(id) ?? { key: request, requests: [] };
    group.requests.push({ request, at });
    groups.set(id, group);
  }
  return [...groups.values()];
}

function attempt(deps: RegisterDependencies, group: RequestGroup, before: StoredWatch | null) {
  const now = deps.now();
  const deliveries: Delivery[] = [];
  const steps: Registered[] = [];
  let watch = before?.watch ?? null;
  for (const { request } of group.requests) {
    const step = register(watch, request, { now, defaults: deps.defaults });
    const { notice } = step.watch;
    const late = notice && { id: notice.eventId, type: notice.type };
    const context = { wants: deps.wants, now };
    deliveries.push(...planDeliveries(step.watch, late ? [late] : [], step.added, context));
    steps.push(step);
    watch = step.watch;
  }
  const after = watch as Watch;
  const isHastened = steps.some((step) => step.isHastened);
  return {
    registered: steps.map((step, nth): [number, Registered] => [
      group.requests[nth]?.at ?? 0,
      { kind: step.kind, added: step.added, isHastened: step.isHastened, watch: after },
    ]),
    outcome: { watch: after, isHastened },
    change: { before, after, events: [], deliveries },
  };
}

/** A process that dies before this has run leaves the rest to the reconciler and the next look. */
async function schedule(
  deps: RegisterDependencies,
  done: Pick<Registered, 'watch' | 'isHastened'>[],
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
