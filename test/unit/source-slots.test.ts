import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { Slots, type NextClaim } from '../../src/poll/source-slots.ts';

const CONCURRENCY = 4;

let slots: Slots<string>;
/** Requests that are due, in order. */
let due: string[];
/** When the next request is due, ms of the test's clock. */
let nextAt: number | null;
/** How many requests may be made; unused permits are held for that long. */
let permits: number;
let heldMs: number;
let claims: number;
/** Slots that were added to the queue and wait there. */
let queued: number;
/** Slots that have ended. */
let ended: number;
let performing: { claim: string; end: () => void }[];
/** Whether requests are answered at once. */
let isQuick: boolean;

beforeEach(() => {
  jest.useFakeTimers();
  [due, nextAt, permits, heldMs, claims, queued, ended] = [[], null, Infinity, 0, 0, 0, 0];
  performing = [];
  isQuick = true;
  slots = new Slots<string>({
    claim,
    perform: (one) =>
      isQuick
        ? Promise.resolve()
        : new Promise((resolve) => performing.push({ claim: one, end: resolve })),
    add: async (count) => void (queued += count),
    concurrency: CONCURRENCY,
    clock: () => Date.now(),
    onError(error) {
      throw error;
    },
  });
});

afterEach(() => {
  slots.stop();
  jest.useRealTimers();
});

async function claim(): Promise<NextClaim<string>> {
  claims += 1;
  if (permits <= 0) return { is: 'held', ms: heldMs };
  const one = due.shift();
  if (one === undefined) {
    const ms = nextAt === null ? null : nextAt - Date.now();
    return { is: 'idle', ms: ms === null || ms <= 0 ? null : ms };
  }
  permits -= 1;
  return { is: 'claimed', claim: one, heldMs: permits <= 0 ? heldMs : 0 };
}

/** Lets the queue start slots, as BullMQ does, until nothing changes any more. */
async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) {
    for (; queued > 0; queued -= 1) void slots.run().then(() => (ended += 1));
    await jest.advanceTimersByTimeAsync(0);
  }
}

async function pass(ms: number): Promise<void> {
  await jest.advanceTimersByTimeAsync(ms);
  await settle();
}

test('due requests start as many slots as may run, each beginning with one request', async () => {
  due = ['a', 'b', 'c', 'd', 'e', 'f'];
  isQuick = false;
  slots.due(1);
  await settle();
  expect(performing.map((one) => one.claim)).toEqual(['a', 'b', 'c', 'd']);
  performing.shift()?.end();
  await settle();
  expect(performing.at(-1)?.claim).toBe('e');
});

test('a slot waits for requests due within its time, so that a steady pace takes one slot', async () => {
  due = ['a'];
  nextAt = Date.now() + 1_000;
  slots.due(1);
  await settle();
  const started = ended;
  due = ['b'];
  nextAt = Date.now() + 2_000;
  await pass(1_000);
  expect(due).toEqual([]);
  expect(ended).toBe(started);
});

test('a slot ends at once where no request comes due within its time', async () => {
  nextAt = Date.now() + 60_000;
  slots.due(1);
  await settle();
  expect(ended).toBe(1);
  nextAt = null;
  due = ['a'];
  await pass(60_000);
  expect(due).toEqual([]);
});

test('while the rate limit is used up no request is claimed', async () => {
  [due, permits, heldMs] = [['a', 'b', 'c'], 1, 500];
  slots.due(3);
  await settle();
  const before = claims;
  slots.due(2);
  slots.dueIn(10);
  await pass(400);
  expect(claims).toBe(before);
  permits = Infinity;
  await pass(100);
  expect(due).toEqual([]);
});

test('a source that takes requests again gets one at once', async () => {
  [due, permits, heldMs] = [['a'], 0, 60_000];
  slots.due(1);
  await settle();
  permits = Infinity;
  slots.free();
  await settle();
  expect(due).toEqual([]);
});

test('a slot ends after ten seconds of work and asks for another', async () => {
  isQuick = false;
  due = Array.from({ length: 20 }, (_, at) => String(at));
  slots.due(1);
  await settle();
  await pass(10_000);
  const { length } = due;
  performing.shift()?.end();
  await settle();
  expect(ended).toBe(1);
  expect(due).toHaveLength(length - 1);
});

test('a slot that the queue has lost is asked for again', async () => {
  due = ['a'];
  slots.due(1);
  queued = 0;
  await pass(500);
  slots.due(1);
  expect(queued).toBe(1);
  queued = 0;
  await pass(1_001);
  slots.due(1);
  await settle();
  expect(due).toEqual([]);
});

describe('stopping', () => {
  test('stopping ends the waiting slots, and lets none claim again', async () => {
    due = ['a'];
    nextAt = Date.now() + 1_000;
    isQuick = false;
    slots.due(1);
    await settle();
    due = ['b'];
    slots.stop();
    performing.shift()?.end();
    await pass(20_000);
    expect(due).toEqual(['b']);
    expect(performing).toEqual([]);
  });
});
