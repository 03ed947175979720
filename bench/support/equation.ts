import { Redis } from 'ioredis';
import { sum } from '../../src/core/arrays.ts';
import { DELIVERY_STATES } from '../../src/core/delivery/delivery.ts';
import { EVENT_TYPES, SYSTEM_EVENT_TYPES } from '../../src/core/event/event.ts';
import { ruleWants } from '../../src/core/event/patterns.ts';
import { createKeys, parseCountField, type Keys } from '../../src/redis/keys.ts';
import { COUNT_NUMBERS } from '../../src/redis/numbers.ts';

/** Longer than any real answer takes, ms. */
const ANSWER_WITHIN_MS = 5_000;

/**
 * All that may come to an endpoint here, which wants of it what a rule with the same patterns does: there
 * are no batches and no alerts.
 */
const TOLD_TYPES = [...EVENT_TYPES, ...SYSTEM_EVENT_TYPES];

/** The event types that a subscriber wants. */
interface Subscriber {
  events: string[];
}

/** One sample of the equation: it holds where all sums are equal. */
export interface Reading {
  sums: Record<string, number>;
  /** States for which counters and index differ. */
  differences: string[];
}

interface LedgerOptions {
  /** Of Redis's socket. */
  path: string;
  /** The prefix of all keys. */
  prefix: string;
  subscribers: Subscriber[];
}

/** Reads the equation from Redis itself, over a connection that fails at once while Redis is away. */
export interface LedgerReader {
  /** @throws Error when Redis is away */
  read(): Promise<Reading>;
  close(): void;
}

/**
 * In one transaction: the counters' sum over all states, the sum of the indexes of the states, and
 * events × subscriptions by the indexes of the event types.
 */
export async function openLedger({
  path,
  prefix,
  subscribers,
}: LedgerOptions): Promise<LedgerReader> {
  const keys = createKeys(prefix);
  const redis = new Redis({
    path,
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: ANSWER_WITHIN_MS,
    retryStrategy: () => 50,
    // While Redis loads its file, the client would otherwise wait for as long as the reply says.
    maxLoadingRetryTime: 50,
  });
  redis.on('error', () => undefined);
  await redis.connect();
  return {
    async read() {
      return readingOf(await readCounts(redis, keys), subscribers);
    },
    close: () => redis.disconnect(),
  };
}

interface Counts {
  planned: number;
  counts: Map<string, number>;
  index: Map<string, number>;
  events: Map<string, number>;
}

async function readCounts(redis: Redis, keys: Keys): Promise<Counts> {
  const transaction = redis.multi().hgetall(keys.deliveryCounts);
  const count = (index: string) => {
    const [keyCount, ...given] = COUNT_NUMBERS.call({ index }, {});
    transaction.eval(COUNT_NUMBERS.lua, keyCount, ...given);
  };
  for (const state of DELIVERY_STATES) count(keys.deliveries('state', state));
  for (const type of TOLD_TYPES) count(keys.events('type', type));
  const replies = await transaction.exec();
  if (replies === null) throw new Error('the transaction was not executed');
  const values = replies.map(([error, value]) => {
    if (error !== null) throw error;
    return value;
  });
  const { planned = '0', ...fields } = values[0] as Record<string, string>;
  const countAt = (at: number) => Number(values[1 + at]);
  return {
    planned: Number(planned),
    counts: byState(fields),
    index: new Map(DELIVERY_STATES.map((state, at) => [state, countAt(at)])),
    events: new Map(TOLD_TYPES.map((type, at) => [type, countAt(DELIVERY_STATES.length + at)])),
  };
}

function byState(fields: Record<string, string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [field, count] of Object.entries(fields)) {
    const { state } = parseCountField(field);
    counts.set(state, (counts.get(state) ?? 0) + Number(count));
  }
  return counts;
}

function readingOf({ planned, counts, index, events }: Counts, subscribers: Subscriber[]): Reading {
  const told = [...events].map(
    ([type, count]) => count * subscribers.filter((one) => ruleWants(one.events, type)).length,
  );
  const differing = DELIVERY_STATES.filter(
    (state) => (counts.get(state) ?? 0) !== index.get(state),
  );
  return {
    sums: {
      planned,
      'events × subscriptions': sum(told),
      'deliveries by state': sum([...counts.values()]),
      'states of the indexes': sum([...index.values()]),
    },
    differences: differing.map(
      (state) => `${state}: ${counts.get(state) ?? 0} counted, ${index.get(state)} indexed`,
    ),
  };
}

/** Whether all sums of a reading are equal, without other differences. */
export function isBalanced({ sums, differences }: Reading): boolean {
  return new Set(Object.values(sums)).size === 1 && differences.length === 0;
}

/**
 * The equation as an operator sees it, at `GET /metrics` of the first daemon that answers.
 * @throws Error when none does
 */
export async function readMetrics(urls: string[]): Promise<Reading> {
  for (const url of urls) {
    const text = await fetchText(`${url}/metrics`);
    const planned = /^runwatch_deliveries_planned (\d+)$/m.exec(text)?.[1];
    const states = [...text.matchAll(/^runwatch_deliveries\{state="\w+"\} (\d+)$/gm)];
    if (planned === undefined || states.length === 0) continue;
    const sums = { planned: Number(planned), states: sum(states.map(([, n]) => Number(n))) };
    return { sums, differences: [] };
  }
  throw new Error(`no counts from ${urls.join(', ') || 'anybody'}`);
}

async function fetchText(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    return await response.text();
  } catch {
    // Killed a moment ago, or not up yet: there is no answer that could be wrong.
    return '';
  }
}
