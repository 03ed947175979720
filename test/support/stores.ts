import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RuleBook, type AlertEntry } from '../../src/core/alert/entry.ts';
import type { WatchChange } from '../../src/redis/watch-change.ts';
import type { Delivery } from '../../src/core/delivery/delivery.ts';
import { createStores } from '../../src/daemon/stores.ts';
import { STORE_NOW } from '../../src/redis/lua/clock.ts';
import type { SourceStore } from '../../src/redis/stores/source-store.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { testRedis, type TestRedis } from './redis.ts';

/** The stores on the suite's Redis with their own prefix, or on the given Redis. */
export function openStores(
  { url, prefix }: TestRedis = testRedis(),
  {
    isClockManual = false,
    entriesOf = () => [],
  }: { isClockManual?: boolean; entriesOf?: (change: WatchChange) => AlertEntry[] } = {},
) {
  const redis = new Redis(url);
  if (isClockManual) setClockByHand(redis);
  const listening = new Redis(url, { autoResubscribe: false });
  const subscriber = new Subscriber(listening);
  const rules = { book: new RuleBook([]), entriesOf };
  return {
    redis,
    ...createStores({ commands: redis, subscriber }, prefix, rules),
    /** Every key of this prefix. Tests may scan; the product may not. */
    async keysLeft(): Promise<string[]> {
      return (await redis.keys(`{${prefix}}:*`)).sort();
    },
    async close() {
      await Promise.all([redis, listening].map(closeConnection));
    },
  };
}

/** How long a server may take to answer what is under way, ms; one that is stopped never does. */
const ANSWERED_WITHIN_MS = 2_000;

/**
 * Closes a connection once what is under way is answered. Its rejection would come when the file has
 * ended, and fail the next one of the same worker.
 */
export async function closeConnection(redis: Redis): Promise<void> {
  if (redis.status === 'ready') {
    const answered = redis.quit().catch(() => undefined);
    await Promise.race([answered, delay(ANSWERED_WITHIN_MS, undefined, { ref: false })]);
  }
  redis.disconnect();
}

/**
 * How many times longer than a script says a key lasts where a test sets the clock: Redis expires keys by its own
 * clock, which goes on while that of the test stands.
 */
export const LASTS_TIMES = 10_000;

const LASTING = `
local redis = setmetatable({call = function(name, ...)
  local given = {...}
  if name == 'PEXPIRE' then given[2] = given[2] * ${LASTS_TIMES} end
  for at = 3, name == 'SET' and #given - 1 or 0 do
    if given[at] == 'PX' then given[at + 1] = given[at + 1] * ${LASTS_TIMES} end
  end
  return redis.call(name, unpack(given))
end}, {__index = redis})
`;

/** Makes scripts take the time from the clock's key unchanged, for tests that set it, and real time expire none of their keys. */
function setClockByHand(redis: Redis): void {
  const define = redis.defineCommand.bind(redis);
  const byHand = "local function storeNow(key) return tonumber(redis.call('GET', key)), 0 end";
  redis.defineCommand = (name, { lua, ...more }) =>
    define(name, { ...more, lua: LASTING + lua.replaceAll(STORE_NOW, byHand) });
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
  const change = { isProbe: false, openSince: null, access: 'a test' };
  await sources.put(source, await sources.read(source), state, change);
}
