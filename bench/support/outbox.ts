import { noLinks } from '../../src/core/run/links.ts';
import { randomUUID } from 'node:crypto';
import { DEFAULT_POLICY } from '../../src/core/watch/observation.ts';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import { isoTime } from '../../src/core/event/event.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import { NO_LOAD } from '../../src/core/cadence/load.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { register } from '../../src/core/watch/register.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import type { DeliveryCounts } from '../../src/redis/stores/delivery-store.ts';
import type { Subscription, WatchKey } from '../../src/core/watch/watch.ts';
import type { WatchChange } from '../../src/redis/watch-change.ts';
import { NOTHING_GIVEN } from '../../test/support/builders.ts';
import { openStores } from '../../test/support/stores.ts';
import type { BenchContext } from './context.ts';
import type { BenchRedis } from './redis.ts';

const BATCH = 500;

/** Events are written at most this long after their time. */
const TICK_MS = 4;

/** A written event, and its due time, milliseconds since the epoch. */
export interface Committed {
  eventId: string;
  scheduledAt: number;
}

/** Writes events as a poll does, but without polls. */
export interface Outbox {
  /** Writes one event for each of the endpoints named, now. */
  fill(endpoints: string[]): Promise<Committed[]>;
  /** The same for subscriptions of any kind, each of a run of its own. */
  end(subscriptions: Subscribe[]): Promise<Committed[]>;
  /**
   * Writes events at a steady rate, whatever happens to them. Latency counts from an event's due
   * time, not from its write.
   */
  pace(options: PaceOptions): Promise<Committed[]>;
  counts(): Promise<DeliveryCounts>;
  /** How many deliveries wait for a slot of an endpoint. */
  inLine(endpoint: string): Promise<number>;
  /** An event as it is sent. */
  sample(endpoint: string): string;
}

interface PaceOptions {
  endpoints: string[];
  perSecond: number;
  seconds: number;
}

/**
 * The load of the delivery benchmarks: runs that end at scheduled times. This process writes each
 * with its watch, event and fan-out by the product's own rules and stores. The daemon gets no
 * wake-up for them, as it would for its own polls: its next sweep finds them.
 */
export function openOutbox(context: BenchContext, redis: BenchRedis): Outbox {
  const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
  context.onEnd(async () => stores.close());

  async function write(changes: WatchChange[]): Promise<void> {
    await stores.watches.commitMany(changes);
  }

  async function end(subscriptions: Subscribe[]): Promise<Committed[]> {
    const committed: Committed[] = [];
    for (let from = 0; from < subscriptions.length; from += BATCH) {
      const now = Date.now();
      const changes = subscriptions.slice(from, from + BATCH).map((one) => runEnded(one, now));
      await write(changes);
      committed.push(...changes.map(committedBy));
    }
    return committed;
  }

  return {
    fill: (endpoints) => end(endpoints.map(toEndpoint)),
    end,
    async pace(options) {
      const committed: Committed[] = [];
      const writing: Promise<void>[] = [];
      for await (const changes of scheduled(options)) {
        writing.push(write(changes));
        committed.push(...changes.map(committedBy));
      }
      await Promise.all(writing);
      return committed;
    },
    counts: () => stores.deliveries.counts(),
    inLine: (endpoint) => stores.redis.zcard(stores.keys.due(endpoint)),
    sample: (endpoint) => JSON.stringify(runEnded(toEndpoint(endpoint), Date.now()).events[0]),
  };
}

async function* scheduled(options: PaceOptions): AsyncIterable<WatchChange[]> {
  const { endpoints, perSecond, seconds } = options;
  const startsAt = Date.now() + TICK_MS;
  const total = Math.floor(perSecond * seconds);
  const timeOf = (index: number) => Math.floor(startsAt + (index * 1_000) / perSecond);
  let next = 0;
  while (next < total) {
    const changes: WatchChange[] = [];
    for (const now = Date.now(); next < total && timeOf(next) <= now; next += 1) {
      changes.push(runEnded(toEndpoint(endpoints[next % endpoints.length] ?? ''), timeOf(next)));
    }
    if (changes.length > 0) yield changes;
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
}

/** Makes the subscription of a watch. */
type Subscribe = (watch: WatchKey) => Subscription;

const toEndpoint =
  (endpoint: string): Subscribe =>
  () => ({ kind: 'endpoint', endpoint });

/** A watched run that has just ended: one event, for one subscription. */
function runEnded(subscribe: Subscribe, now: number): WatchChange {
  const runId = randomUUID();
  const subscriptions = [subscribe({ source: 'bench', runId })];
  const registered = register(
    null,
    { source: 'bench', runId, subscriptions },
    { now, defaults: { timeoutMs: 3_600_000, minIntervalMs: 1_000, profile: 'normal' } },
  );
  const context = {
    now,
    label: 'Noxus',
    policy: DEFAULT_POLICY,
    random: () => 0,
    statistics: nothingLearned,
    wants: () => true,
    load: NO_LOAD,
    beganAt: now,
    lagMs: 0,
    mode: 'single' as const,
    isStreamed: false,
    nodes: null,
    answeredAt: now,
    openSince: null,
    closedFor: null,
    isConsistent: true,
    linksOf: noLinks,
    newMark: () => '',
  };
  const { watch, events } = observe(
    registered.watch,
    { kind: 'run', run: endedRun(runId, now) },
    context,
  );
  const deliveries = planDeliveries(watch, events, watch.subscriptions, { wants: () => true, now });
  return { before: null, after: watch, events, deliveries };
}

function endedRun(id: string, now: number): RunSnapshot {
  const time = isoTime(now);
  return {
    ...NOTHING_GIVEN,
    id,
    workflow_id: randomUUID(),
    group_id: randomUUID(),
    workflow_version_id: randomUUID(),
    status: 'completed',
    progress: 100,
    created_at: time,
    started_at: time,
    finished_at: time,
    source: 'api',
    observed_at: time,
  };
}

function committedBy({ events: [event], deliveries }: WatchChange): Committed {
  const [delivery] = deliveries;
  if (event === undefined || delivery === undefined) throw new Error('a run ended without news');
  return { eventId: event.id, scheduledAt: delivery.createdAt };
}
