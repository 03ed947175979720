import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  newDelivery,
  replayed,
  withheld,
  type Delivery,
  type StoredDelivery,
} from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Subscription, WatchKey } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

const place = testRedis();
const stores = openStores(place);
const { redis, keys, watches, events, deliveries, history, outbox } = stores;
afterAll(() => stores.close());

const KEY: WatchKey = { source: 'default', runId: 'run-1' };
const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const limits = { most: 4, rate: null, deadlineMs: 15_000 };

beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

async function register(): Promise<void> {
  const after = newWatch({ ...KEY, subscriptions: [ops] });
  const schedule = { does: 'enter', withinMs: 0, kind: 'watch' } as const;
  await watches.commit({ before: null, after, events: [], deliveries: [], schedule });
}

/** Writes the end of the run, as a poll finds it. */
async function end(): Promise<void> {
  const before = (await watches.get(KEY))!;
  if (before.watch.state === 'finished') return;
  const run = snapshot({ id: KEY.runId, status: 'failed' });
  const seen = observe(before.watch, { kind: 'run', run }, observeContext(NOON));
  const planned = [newDelivery(seen.watch, seen.events[0]!, 'ops', NOON)];
  const schedule = { does: 'leave' } as const;
  const change = { before, after: seen.watch, events: seen.events, deliveries: planned, schedule };
  expect(await watches.commit(change)).not.toBeNull();
}

async function theDelivery(): Promise<StoredDelivery> {
  const { items } = await deliveries.list({ runs: [KEY] }, { limit: 10 });
  expect(items).toHaveLength(1);
  return (await deliveries.get(items[0]!.id))!;
}

async function claim(token = 'p.1') {
  const asked = { pool: 'ops', limits, most: 1, token, askedAt: 0 };
  return (await outbox.claim(asked)).claims;
}

async function claimed(): Promise<void> {
  expect(await claim()).toHaveLength(1);
}

/** Writes that the receiver has taken the delivery. */
async function succeed(): Promise<void> {
  const before = await theDelivery();
  const attempt = { at: NOON, status: 200, error: null, durationMs: 1, response: null };
  const after: Delivery = {
    ...before.delivery,
    state: 'delivered',
    attemptCount: 1,
    nextAttemptAt: null,
    deliveredAt: NOON,
    last: attempt,
  };
  const step = { before, after, attempt, token: 'p.1', limits, now: NOON };
  expect(await outbox.recordAttempt(step)).not.toBe('delivery');
}

async function skip(): Promise<void> {
  const before = await theDelivery();
  const after = withheld(before.delivery, 'skipped');
  expect(await outbox.withhold({ before, after, limits, now: NOON })).not.toBe('delivery');
}

async function sendAgain(): Promise<void> {
  const before = await theDelivery();
  const after = replayed(before.delivery, NOON);
  expect(await outbox.requeue({ before, after, limits, now: NOON })).toBe(true);
}

async function pack(): Promise<void> {
  expect(await history.pack(KEY)).toBe('packed');
}

async function isToldOfTheEnd(): Promise<void> {
  const { items } = await events.list({ runs: [KEY] }, { limit: 10 });
  expect(items.map(({ event }) => event.type)).toEqual(['run.failed']);
  expect((await watches.get(KEY))?.watch.state).toBe('finished');
  await theDelivery();
}

async function isDue(): Promise<void> {
  await isToldOfTheEnd();
  expect(await claim('p.9')).toHaveLength(1);
}

async function isInState(state: Delivery['state']): Promise<void> {
  await isToldOfTheEnd();
  expect((await theDelivery()).delivery.state).toBe(state);
}

/** What was done before, the step, and what holds after it. */
type Case = [
  step: string,
  before: (() => Promise<void>)[],
  act: () => Promise<void>,
  holds: () => Promise<void>,
];

const CASES: Case[] = [
  ['the end of a run', [register], end, isDue],
  ['an attempt that succeeds', [register, end, claimed], succeed, () => isInState('delivered')],
  ['a delivery that is skipped', [register, end], skip, () => isInState('skipped')],
  ['a redelivery', [register, end, skip], sendAgain, isDue],
  ['packing', [register, end, skip], pack, () => isInState('skipped')],
  ['unpacking', [register, end, skip, pack], sendAgain, isDue],
];

async function prepare(steps: readonly (() => Promise<void>)[]): Promise<void> {
  await redis.del(...(await stores.keysLeft()), 'none');
  for (const step of steps) await step();
}

async function texts(): Promise<Map<string, string>> {
  const found = await dumpRedis(place.url, place.prefix);
  return new Map(found.map(({ key, text }) => [key, text]));
}

/** The keys that a step writes. */
async function writtenBy(before: Case[1], act: () => Promise<void>): Promise<string[]> {
  await prepare(before);
  const old = await texts();
  await act();
  const now = await texts();
  const all = new Set([...old.keys(), ...now.keys()]);
  return [...all].filter((key) => key !== keys.clock && old.get(key) !== now.get(key)).sort();
}

/** Does something while a key holds a value of a type that it never has; then it is as it was. */
async function withForeign(key: string, act: () => Promise<void>): Promise<unknown> {
  const kept = `${key}:kept`;
  const exists = (await redis.exists(key)) === 1;
  const isText = exists && (await redis.type(key)) === 'string';
  if (exists) await redis.rename(key, kept);
  if (isText) await redis.lpush(key, 'foreign');
  else await redis.set(key, 'foreign');
  const error = await act().then(
    () => null,
    (caught: unknown) => caught,
  );
  await redis.del(key);
  if (exists) await redis.rename(kept, key);
  return error;
}

describe.each(CASES)('a step that fails half-way: %s', (_, before, act, holds) => {
  test('is repeated in whole, whichever of its keys was of another type', async () => {
    const written = await writtenBy(before, act);
    expect(written.length).toBeGreaterThan(3);
    const failures: string[] = [];
    for (const key of written) {
      await prepare(before);
      if ((await withForeign(key, act)) !== null) {
        await act().catch((error: unknown) => failures.push(`${key}: ${String(error)}`));
      }
      await holds().catch((error: unknown) => failures.push(`${key}: ${String(error)}`));
    }
    expect(failures).toEqual([]);
  });
});
