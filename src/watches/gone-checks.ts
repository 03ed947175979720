import { planDeliveries } from '../core/delivery/delivery.ts';
import { pollKind } from '../core/source/request-order.ts';
import { UNSTREAMED } from '../core/feed/run-stream.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import { nextGoneCheck, revived } from '../core/watch/gone.ts';
import { observe } from '../core/watch/observe.ts';
import { parseWatchId, watchId, type WatchKey } from '../core/watch/watch.ts';
import type { StoredWatch } from '../redis/watch-change.ts';
import type { Process } from '../process.ts';
import type { Source } from '../source/source.ts';

/** The most runs that one pass checks; the others remain due. */
const MOST = 100;

/** A check without a result after this time is due again, since its process has died, ms. */
const LEASE_MS = 300_000;

/** The sources by their names; undefined for one that is not configured any more. */
interface Sources {
  process: Process;
  sourceOf(name: string): Source | undefined;
}

/**
 * The use case for runs that are gone: it reads them seldom, on a schedule of its own. If a run can
 * be read again, its watch becomes active with `watch.recovered` and the events since.
 */
export async function checkGone(sources: Sources): Promise<void> {
  const { stores, now } = sources.process;
  const due = await stores.gone.takeDue(now(), { leaseMs: LEASE_MS, most: MOST });
  for (const id of due) await check(sources, parseWatchId(id));
}

async function check(sources: Sources, key: WatchKey): Promise<void> {
  const { stores, now } = sources.process;
  const before = await stores.watches.get(key);
  if (before?.watch.state !== 'gone') return stores.gone.putCheck(watchId(key), null);
  const source = sources.sourceOf(key.source);
  const outcome = source === undefined ? null : await read(source, key.runId);
  // Without a permit the check is due again when its lease ends.
  if (source === undefined || outcome === null) return;
  if (outcome.kind === 'run') return revive(source, before, outcome);
  await stores.gone.putCheck(watchId(key), nextGoneCheck(before.watch, now()));
}

async function read({ limiter, reader }: Source, runId: string): Promise<PollResult | null> {
  const permit = await limiter.claimRead();
  if (permit === null) return null;
  try {
    const outcome = await reader.readRun(runId, { onSecond: () => permit.second.use() });
    permit.settle();
    return outcome;
  } finally {
    permit.second.end();
  }
}

/** Makes a watch active again, unless a registration did so since it was read. */
async function revive(
  { process, observer, schedule }: Source,
  before: StoredWatch,
  outcome: Extract<PollResult, { kind: 'run' }>,
): Promise<void> {
  const { stores, endpoints, tracing } = process;
  const now = process.now();
  const context = observer.contextOf({
    now,
    beganAt: now,
    mode: 'single',
    lagMs: 0,
    streamed: UNSTREAMED,
    health: { answeredAt: now, openSince: null, closedFor: null },
    isConsistent: true,
  });
  const revivedWatch = revived(before.watch, now);
  const { watch, events, samples } = observe(revivedWatch, outcome, context);
  const { wants } = endpoints;
  const deliveries = planDeliveries(watch, events, watch.subscriptions, { wants, now });
  const change = { before, after: watch, events, deliveries, samples };
  const withinMs = Math.max(0, (watch.nextPollAt ?? now) - now);
  const enters = { does: 'enter' as const, withinMs, kind: pollKind(watch, 0) };
  const goesOn = watch.state === 'active';
  const due = await stores.watches.commit(goesOn ? { ...change, schedule: enters } : change);
  if (due === null) return;
  if (goesOn) await schedule.entered(1);
  process.dispatch(due);
  tracing.trace({ before: revivedWatch, after: watch });
}
