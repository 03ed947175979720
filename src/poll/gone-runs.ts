import { planDeliveries, type EndpointFilter } from '../core/delivery/delivery.ts';
import { nextGoneCheck, revived, observe } from '../core/watch/observe.ts';
import type { ObserveContext } from '../core/watch/observation.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import { pollKind } from '../core/cadence/load.ts';
import { parseWatchId, watchId, type StoredWatch, type WatchKey } from '../core/watch/watch.ts';
import type { GoneStore, RunReader, TraceChange, WatchStore } from './ports.ts';
import type { Permit } from './source-limiter.ts';

/** The most runs that one pass checks; the others remain due. */
const MOST = 100;

/** A check without a result after this time is due again, since its process has died, ms. */
const LEASE_MS = 300_000;

export interface CheckGoneDependencies {
  watches: Pick<WatchStore, 'get' | 'commit'>;
  gone: GoneStore;
  /** Undefined, like the limiter, for a source that is not configured any more. */
  readerOf: (source: string) => RunReader | undefined;
  limiterOf: (source: string) => { claim(): Promise<Permit | null> } | undefined;
  contextOf: (key: WatchKey, now: number) => ObserveContext;
  wants: EndpointFilter;
  /** A watch of a source has entered the schedule. */
  onScheduled: (source: string) => Promise<void>;
  dispatch: (due: string[]) => void;
  trace: TraceChange;
  now: () => number;
}

/**
 * The use case for runs that are gone: it reads them seldom, on a schedule of its own. If a run can
 * be read again, its watch becomes active with `watch.recovered` and the events since.
 * Returns a function that makes the checks that are due.
 */
export function createCheckGone(deps: CheckGoneDependencies) {
  return async function checkGone(): Promise<void> {
    const due = await deps.gone.takeDue(deps.now(), { leaseMs: LEASE_MS, most: MOST });
    for (const id of due) await check(deps, parseWatchId(id));
  };
}

async function check(deps: CheckGoneDependencies, key: WatchKey): Promise<void> {
  const before = await deps.watches.get(key);
  if (before?.watch.state !== 'gone') return deps.gone.putCheck(watchId(key), null);
  const outcome = await read(deps, key);
  // Without a permit the check is due again when its lease ends.
  if (outcome === null) return;
  if (outcome.kind === 'run') return revive(deps, before, outcome);
  await deps.gone.putCheck(watchId(key), nextGoneCheck(before.watch, deps.now()));
}

async function read(
  { readerOf, limiterOf }: CheckGoneDependencies,
  { source, runId }: WatchKey,
): Promise<PollResult | null> {
  const permit = await limiterOf(source)?.claim();
  if (!permit) return null;
  const outcome = await readerOf(source)?.readRun(runId);
  permit.settle();
  return outcome ?? null;
}

/** Makes a watch active again, unless a registration did so since it was read. */
async function revive(
  deps: CheckGoneDependencies,
  before: StoredWatch,
  outcome: Extract<PollResult, { kind: 'run' }>,
): Promise<void> {
  const now = deps.now();
  const context = deps.contextOf(before.watch, now);
  const revivedWatch = revived(before.watch, now);
  const { watch, events, samples } = observe(revivedWatch, outcome, context);
  const deliveries = planDeliveries(watch, events, watch.subscriptions, { wants: deps.wants, now });
  const change = { before, after: watch, events, deliveries, samples };
  const withinMs = Math.max(0, (watch.nextPollAt ?? now) - now);
  const schedule = { does: 'enter' as const, withinMs, kind: pollKind(watch, 0) };
  const goesOn = watch.state === 'active';
  const due = await deps.watches.commit(goesOn ? { ...change, schedule } : change);
  if (due === null) return;
  if (goesOn) await deps.onScheduled(watch.source);
  deps.dispatch(due);
  deps.trace({ before: revivedWatch, after: watch });
}
