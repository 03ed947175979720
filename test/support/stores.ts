import { Redis } from 'ioredis';
import type { AlertEntry } from '../../src/core/alert/entry.ts';
import type { WatchChange } from '../../src/core/watch/watch.ts';
import type { Delivery } from '../../src/core/delivery/delivery.ts';
import { AlertStore } from '../../src/redis/stores/alert-store.ts';
import { SilenceStore } from '../../src/redis/stores/silence-store.ts';
import { BudgetStore, SourceStore } from '../../src/redis/stores/source-store.ts';
import { ClaimStore } from '../../src/redis/leases.ts';
import { DeliveryStore } from '../../src/redis/stores/delivery-store.ts';
import { GoneStore, ScheduleStore } from '../../src/redis/stores/schedule-store.ts';
import { EpochStore } from '../../src/redis/stores/epoch-store.ts';
import { EndpointStore } from '../../src/redis/stores/endpoint-store.ts';
import { EventBell, WakeChannel } from '../../src/redis/channels.ts';
import { EventStore } from '../../src/redis/stores/event-store.ts';
import { HistoryStore } from '../../src/redis/stores/history-store.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { STORE_NOW } from '../../src/redis/lua/clock.ts';
import { DiscoveryStore } from '../../src/redis/stores/discovery-store.ts';
import { FeedStore } from '../../src/redis/stores/feed-store.ts';
import { NodeNameStore } from '../../src/redis/stores/name-store.ts';
import { RedisMemoryStore } from '../../src/redis/stores/redis-memory-store.ts';
import { OutboxStore } from '../../src/redis/stores/outbox-store.ts';
import { ProcessStore } from '../../src/redis/stores/process-store.ts';
import { RetentionStore } from '../../src/redis/stores/retention-store.ts';
import { defineScripts } from '../../src/redis/scripts.ts';
import { StatisticsStore } from '../../src/redis/stores/statistics-store.ts';
import { StreamStore } from '../../src/redis/stores/stream-store.ts';
import { StoreClock } from '../../src/redis/store-clock.ts';
import { RunFiguresStore } from '../../src/redis/stores/run-figures-store.ts';
import { TimelineStore } from '../../src/redis/stores/timeline-store.ts';
import { WatchStore } from '../../src/redis/stores/watch-store.ts';
import { testRedis, type TestRedis } from './redis.ts';

/** The stores on the suite's Redis with their own prefix, or on the given Redis. */
export function openStores(
  { url, prefix }: TestRedis = testRedis(),
  {
    isClockManual = false,
    entriesOf,
  }: { isClockManual?: boolean; entriesOf?: (change: WatchChange) => AlertEntry[] } = {},
) {
  const redis = new Redis(url);
  if (isClockManual) setClockByHand(redis);
  const subscriber = new Redis(url);
  const waker = new Redis(url);
  defineScripts(redis);
  const keys = createKeys(prefix);
  const history = new HistoryStore(redis, keys);
  const watches = new WatchStore(redis, keys, history, entriesOf);
  const eventBell = new EventBell(subscriber, keys.eventBell);
  const events = new EventStore(redis, keys, eventBell);
  const deliveries = new DeliveryStore(redis, keys, history);
  const requests = new ScheduleStore(redis, keys);
  return {
    redis,
    keys,
    processes: new ProcessStore(redis, keys),
    clock: new StoreClock(redis, keys),
    epochs: new EpochStore(redis, keys),
    watches,
    timelines: new TimelineStore(redis, keys),
    runFigures: new RunFiguresStore(redis, keys),
    history,
    memory: new RedisMemoryStore(redis, keys),
    events,
    eventBell,
    deliveries,
    requests,
    wake: new WakeChannel(redis, waker, keys.wake),
    outbox: new OutboxStore(redis, keys, history),
    endpointStates: new EndpointStore(redis, keys),
    deliveryClaims: new ClaimStore(redis, keys.deliveryClaims),
    sources: new SourceStore(redis, keys),
    budgets: new BudgetStore(redis, keys),
    feeds: new FeedStore(redis, keys, watches, requests),
    discoveries: new DiscoveryStore(redis, keys),
    gone: new GoneStore(redis, keys),
    statistics: new StatisticsStore(redis, keys),
    streams: new StreamStore(redis, keys),
    nodeNames: new NodeNameStore(redis, keys),
    alerts: new AlertStore(redis, keys),
    silences: new SilenceStore(redis, keys),
    retention: new RetentionStore(redis, keys, { history, deliveries }),
    /** Every key of this prefix. Tests may scan; the product may not. */
    async keysLeft(): Promise<string[]> {
      return (await redis.keys(`{${prefix}}:*`)).sort();
    },
    close() {
      redis.disconnect();
      subscriber.disconnect();
      waker.disconnect();
    },
  };
}

/** Makes scripts take the time from the clock's key unchanged, for tests that set it. */
function setClockByHand(redis: Redis): void {
  const define = redis.defineCommand.bind(redis);
  const byHand = "local function storeNow(key) return tonumber(redis.call('GET', key)), 0 end";
  redis.defineCommand = (name, { lua, ...more }) =>
    define(name, { ...more, lua: lua.replaceAll(STORE_NOW, byHand) });
}

/** A delivery that has been settled as delivered. */
export function delivered(delivery: Delivery, at: number): Delivery {
  return {
    ...delivery,
    state: 'delivered',
    attemptCount: 1,
    nextAttemptAt: null,
    deliveredAt: at,
  };
}

/** Closes a source until a time, as its request for a pause does. */
export async function closeSource(
  sources: SourceStore,
  source: string,
  probeAt: number,
): Promise<void> {
  const at = Date.now();
  const message = 'status 429';
  const closed = { reason: 'rate_limited' as const, message, at, probeAt, failedProbes: 0 };
  const state = { since: at, row: [], closed, said: [], unsaid: [] };
  const change = { isProbe: false, openSince: null };
  await sources.put(source, await sources.read(source), state, change);
}
