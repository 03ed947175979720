import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import type { RequestClaim } from '../../src/source/schedule.ts';
import { Slots, type Claimed } from '../../src/source/slots.ts';
import { testProcess, testSource } from '../support/daemon.ts';

/** Requests under way at most. */
const MOST = 4;

/** One source, so that it has all requests under way. */
const CONFIG = { data_dir: '/nowhere', sources: { default: { api_key: 'k' } } };
const config = configSchema.parse({ ...CONFIG, polling: { concurrency: MOST } });

/** What that source is asked, as the configuration says. */
const ASKED = { limiter: { limit: { requests: 10, perMs: 1_000 } }, timeoutMs: 10_000 };

/** The queue of slots that all processes share. */
const queueOf = (ask: () => Promise<void>) => ({
  ask,
  countAtWork: async () => processes.filter(({ isAtWork }) => isAtWork).length,
  processesAtWork: async () =>
    new Set(processes.filter(({ isAtWork }) => isAtWork).map(({ id }) => id)),
  work: () => ({ isRunning: () => true, close: async () => undefined }),
  close: async () => undefined,
});

/** Whether a slot waits in the queue that all processes share. */
let isQueued: boolean;
/** Requests by when they are due, ms of the test's clock, the earliest first. */
let scheduled: { name: string; at: number }[];
/** How many requests may be made; unused permits are held for that long. */
let permits: number;
let heldMs: number;
/** How many each claim asked for. */
let claims: number[];
/** What the answers to claims wait for. */
let answered: Promise<void>;
let processes: Process[];

/** One process: its slots, and its requests under way. */
class Process {
  readonly id = `p${processes.length}`;
  /** Whether it has a counter in the store, as long as no other process has found it dead. */
  isLive = true;
  readonly performing: { claim: string; end: () => void }[] = [];
  /** Whether requests are answered at once. */
  isQuick = true;
  isAtWork = false;
  /** How many slots it was given. */
  began = 0;
  readonly slots = new Slots(
    testSource({
      process: testProcess({
        config,
        id: this.id,
        stores: { processes: { counters } },
        monotonic: () => Date.now(),
        measureBusy: () => () => 0,
        queueOf: () => queueOf(async () => void (isQueued = true)),
      }),
      ...ASKED,
      schedule: { claim },
      performer: { perform: (one) => this.perform(one.member) },
      wakeAll: async () => {
        for (const one of processes) one.slots.woken();
      },
    }),
  );

  async run(): Promise<void> {
    this.isAtWork = true;
    this.began += 1;
    await this.slots.run();
    this.isAtWork = false;
  }

  private perform(one: string): Promise<boolean> {
    if (this.isQuick) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.performing.push({ claim: one, end: () => resolve(true) });
    });
  }
}

/** The counters of live processes. */
async function counters(): Promise<Map<string, string>> {
  return new Map(processes.filter(({ isLive }) => isLive).map(({ id }) => [id, '1']));
}

let slots: Slots;
let only: Process;

beforeEach(() => {
  jest.useFakeTimers();
  [scheduled, permits, heldMs, isQueued, claims] = [[], Infinity, 0, false, []];
  answered = Promise.resolve();
  processes = [];
  only = new Process();
  processes = [only];
  ({ slots } = only);
});

afterEach(() => {
  for (const one of processes) one.slots.stop();
  jest.useRealTimers();
});

/** Schedules requests, by default due now. */
function schedule(names: readonly string[], inMs = 0): void {
  scheduled.push(...names.map((name) => ({ name, at: Date.now() + inMs })));
  scheduled.sort((a, b) => a.at - b.at);
}

async function claim(most: number): Promise<Claimed> {
  claims.push(most);
  const due = scheduled.filter(({ at }) => at <= Date.now()).length;
  const taken = scheduled
    .splice(0, Math.min(most, permits, due))
    .map(({ name }) => ({ member: name }) as RequestClaim);
  permits -= taken.length;
  const ms = scheduled[0] === undefined ? null : Math.max(0, scheduled[0].at - Date.now());
  const isLimited = permits <= 0;
  await answered;
  return { claims: taken, next: isLimited ? { is: 'limited', ms: heldMs } : { is: 'idle', ms } };
}

/** Lets time pass. Meanwhile the queue gives its slot to a process without one, as BullMQ does. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1) {
    const free = processes.find(({ isAtWork }) => !isAtWork);
    if (isQueued && free !== undefined) {
      isQueued = false;
      void free.run();
    }
    await jest.advanceTimersByTimeAsync(1);
  }
}

const settle = () => pass(20);

const names = () => scheduled.map(({ name }) => name);

test('one slot makes due requests side by side, as many as may be under way', async () => {
  schedule(['a', 'b', 'c', 'd', 'e', 'f']);
  only.isQuick = false;
  slots.due();
  await settle();
  expect(claims).toEqual([MOST]);
  expect(only.performing.map((one) => one.claim)).toEqual(['a', 'b', 'c', 'd']);
  only.performing[0]?.end();
  await settle();
  expect(only.performing.at(-1)?.claim).toBe('e');
});

test('a slot waits for the next due request, so that a steady pace takes one slot and one claim a request', async () => {
  for (let poll = 0; poll < 30; poll += 1) schedule([`poll ${poll}`], poll * 200);
  slots.due();
  await pass(30 * 200);
  expect(names()).toEqual([]);
  expect(only.began).toBe(1);
  expect(claims).toHaveLength(30);
});

test('a slot that knows of an earlier request by now claims it then', async () => {
  schedule(['late'], 8_000);
  slots.due();
  await settle();
  schedule(['early'], 1_000);
  slots.dueIn(1_000);
  await pass(1_020);
  expect(names()).toEqual(['late']);
});

test('requests that come due within moments of one another take one claim', async () => {
  schedule(['a'], 1_000);
  schedule(['b'], 1_001);
  schedule(['c', 'd'], 1_003);
  slots.due();
  await pass(1_050);
  expect(names()).toEqual([]);
  expect(claims.length).toBeLessThanOrEqual(3);
});

test('a slot ends where no request comes due within its time, and another is asked for then', async () => {
  schedule(['a'], 15_000);
  slots.due();
  await settle();
  expect(only.isAtWork).toBe(false);
  await pass(15_000);
  expect(names()).toEqual([]);
  expect(claims).toHaveLength(2);
});

test('while the rate limit is used up no request is claimed', async () => {
  [permits, heldMs] = [1, 500];
  schedule(['a', 'b', 'c']);
  slots.due();
  await settle();
  const before = claims.length;
  slots.due();
  slots.dueIn(10);
  await pass(400);
  expect(claims).toHaveLength(before);
  permits = Infinity;
  await pass(150);
  expect(names()).toEqual([]);
});

test('a source that takes requests again gets one at once, also long after its slot has ended', async () => {
  [permits, heldMs] = [0, 60_000];
  schedule(['a']);
  slots.due();
  await settle();
  slots.due();
  await pass(1_000);
  expect(only.isAtWork).toBe(false);
  permits = Infinity;
  slots.free();
  await settle();
  expect(names()).toEqual([]);
});

test('a source that takes requests again during a claim gets the next one at once', async () => {
  [permits, heldMs] = [0, 60_000];
  let answer = () => {};
  answered = new Promise((resolve) => (answer = resolve));
  schedule(['a']);
  slots.due();
  await settle();
  permits = Infinity;
  slots.free();
  answer();
  await settle();
  expect(names()).toEqual([]);
});

test('a slot that the queue cannot add is asked for again', async () => {
  let asked = 0;
  const queue = queueOf(async () => {
    asked += 1;
    throw new Error('Redis is away');
  });
  const failing = new Slots(
    testSource({
      process: testProcess({
        config,
        log: pino({ level: 'silent' }),
        monotonic: () => Date.now(),
        measureBusy: () => () => 0,
        queueOf: () => queue,
      }),
      ...ASKED,
      schedule: { claim },
      performer: { perform: async () => true },
    }),
  );
  failing.due();
  await jest.advanceTimersByTimeAsync(5_000);
  failing.stop();
  expect(asked).toBeGreaterThan(3);
});

test('while requests hang, more and more may be under way, unless their number is fixed', async () => {
  let begun = 0;
  const queue = queueOf(async () => undefined);
  const hanging = new Slots(
    testSource({
      process: testProcess({
        config: configSchema.parse({ ...CONFIG, polling: { concurrency: 'auto' } }),
        monotonic: () => Date.now(),
        // At first the process does other work.
        measureBusy: () => () => (begun < 80 && Date.now() < startedAt + 500 ? 1 : 0),
        queueOf: () => ({ ...queue, countAtWork: async () => 1 }),
      }),
      // A hundred requests begin during the slowest answer.
      limiter: { limit: { requests: 20, perMs: 1_000 } },
      timeoutMs: 5_000,
      schedule: { claim },
      performer: { perform: () => new Promise(() => void (begun += 1)) },
    }),
  );
  const startedAt = Date.now();
  schedule(Array.from({ length: 200 }, (_, at) => `poll ${at}`));
  const slot = hanging.run();
  await jest.advanceTimersByTimeAsync(300);
  expect(begun).toBe(64);
  await jest.advanceTimersByTimeAsync(5_000);
  expect(begun).toBe(100);
  hanging.stop();
  await slot;
});

describe('several processes', () => {
  test('a process gets a slot beside another where more is due than that one has room for', async () => {
    const other = new Process();
    processes.push(other);
    schedule(['a', 'b', 'c', 'd', 'e']);
    [only.isQuick, other.isQuick] = [false, false];
    slots.due();
    await settle();
    expect(other.performing.map((one) => one.claim)).toEqual(['e']);
  });

  test('of several slots those end that claim in vain, so that one claim a request is left', async () => {
    for (let more = 0; more < 3; more += 1) processes.push(new Process());
    for (let poll = 0; poll < 200; poll += 1) schedule([`poll ${poll}`], 1_000 + poll * 100);
    for (const one of processes) {
      one.slots.due();
      await settle();
    }
    expect(processes.filter(({ isAtWork }) => isAtWork).length).toBeGreaterThan(1);
    await pass(11_000);
    expect(processes.filter(({ isAtWork }) => isAtWork)).toHaveLength(1);
    claims = [];
    await pass(8_000);
    expect(claims).toHaveLength(80);
  });

  test('nothing is left to a killed process, whose slot counts as at work for a while', async () => {
    const killed = new Process();
    [killed.isAtWork, killed.isLive] = [true, false];
    processes.push(killed);
    [permits, heldMs] = [0, 100];
    schedule(['a']);
    slots.due();
    await pass(1_000);
    permits = Infinity;
    await pass(150);
    expect(names()).toEqual([]);
  });

  test('a wake-up of another process is for those that have a slot', async () => {
    slots.woken();
    await settle();
    expect(only.began).toBe(0);
    schedule(['late'], 9_000);
    slots.due();
    await settle();
    schedule(['a']);
    slots.woken();
    await settle();
    expect(names()).toEqual(['late']);
  });
});

describe('stopping', () => {
  test('stopping ends the waiting slot, and lets it claim no more', async () => {
    schedule(['a']);
    schedule(['b'], 1_000);
    only.isQuick = false;
    slots.due();
    await settle();
    slots.stop();
    only.performing[0]?.end();
    await pass(5_000);
    expect(names()).toEqual(['b']);
    expect(only.isAtWork).toBe(false);
  });

  test('a process that stops leaves a slot to others, once nothing of its own is under way', async () => {
    schedule(['a']);
    schedule(['b'], 5_000);
    only.isQuick = false;
    slots.due();
    await settle();
    slots.stop();
    const left = slots.leave(false);
    await jest.advanceTimersByTimeAsync(10);
    expect(isQueued).toBe(false);
    only.performing[0]?.end();
    await left;
    expect(isQueued).toBe(true);
  });
});
