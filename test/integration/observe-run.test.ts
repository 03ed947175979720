import { afterAll, describe, expect, test } from '@jest/globals';
import { nothingLearned } from '../../src/core/hazard.ts';
import { NO_LOAD } from '../../src/core/load.ts';
import type { FetchOutcome } from '../../src/core/outcome.ts';
import type { Registration } from '../../src/core/register.ts';
import { watchId, type Subscription, type WatchKey } from '../../src/core/watch.ts';
import { createEndWatch } from '../../src/poll/end-watch.ts';
import { createObserveRun, type ObserveRunDependencies } from '../../src/poll/observe-run.ts';
import { createRegisterWatches } from '../../src/poll/register-watches.ts';
import { newMark, POLICY, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { watches, events, deliveries, gates } = stores;
afterAll(() => stores.close());

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const audit: Subscription = { kind: 'endpoint', endpoint: 'audit' };
const wants = () => true;
const lose = () => undefined;

let runs = 0;

const registerWatches = createRegisterWatches({
  watches,
  jobsOf: () => undefined,
  deadlineOf: Date.now,
  dispatch: lose,
  wants,
  defaults: { timeoutMs: 3_600_000, minIntervalMs: 1_000, profile: 'normal' },
  now: Date.now,
});
const endWatch = createEndWatch({ watches, jobsOf: () => undefined, now: Date.now });

/** A new watch of a run of its own, told to `ops`. */
async function register(request: Partial<Registration> = {}): Promise<WatchKey> {
  const key = { source: 'default', runId: `observed-${(runs += 1)}` };
  await registerWatches([{ ...key, subscriptions: [ops], ...request }]);
  return key;
}

function seen(key: WatchKey, status: string): FetchOutcome {
  return { kind: 'run', run: snapshot({ id: key.runId, status }) };
}

/** A process that polls: each `poll` reads what it is given, as soon as that is there. */
function pollingProcess(changes: Partial<ObserveRunDependencies> = {}) {
  const dispatched: string[] = [];
  const poll = async (key: WatchKey, look: FetchOutcome | Promise<FetchOutcome>) =>
    createObserveRun({
      watches,
      readerOf: () => ({ readRun: async () => look }),
      sources: { note: async () => null, answeredAt: async () => Date.now() },
      askList: () => undefined,
      budgetOf: () => undefined,
      hintsOf: () => undefined,
      deadlineOf: ({ nextPollAt }) => nextPollAt ?? 0,
      statistics: { lookup: nothingLearned, learn: () => undefined },
      loadOf: () => NO_LOAD,
      dispatch: (names) => void dispatched.push(...names),
      wants,
      policy: POLICY,
      report: () => undefined,
      now: Date.now,
      random: Math.random,
      newMark,
      ...changes,
    })(watchId(key));
  return { poll, dispatched };
}

/** A look that is under way until it is let come. */
function heldLook() {
  let come: (look: FetchOutcome) => void = () => undefined;
  const look = new Promise<FetchOutcome>((resolve) => (come = resolve));
  return { look, come };
}

/** Lets the event loop turn so many times; not at all for a number below one. */
async function steps(count: number): Promise<void> {
  for (let step = 0; step < count; step += 1) await new Promise(setImmediate);
}

async function told({ runId }: WatchKey): Promise<string[]> {
  return (await events.list({ runId }, { limit: 100 })).items.map(({ event }) => event.type);
}

async function fanOut({ runId }: WatchKey): Promise<string[]> {
  const { items } = await deliveries.list({ runId }, { limit: 100 });
  return items.map(({ eventType, endpoint }) => `${eventType} to ${endpoint}`).toSorted();
}

describe('two processes that poll the same run', () => {
  test('tell of a change that both have seen once', async () => {
    const key = await register();
    const [first, second] = [pollingProcess(), pollingProcess()];
    const looks = [heldLook(), heldLook()] as const;
    const polls = [first.poll(key, looks[0].look), second.poll(key, looks[1].look)];
    for (const { come } of looks) come(seen(key, 'failed'));
    expect(await Promise.all(polls)).toEqual([null, null]);
    expect(await told(key)).toEqual(['run.failed']);
    expect(await fanOut(key)).toEqual(['run.failed to ops']);
    expect([...first.dispatched, ...second.dispatched]).toHaveLength(1);
  });

  test('do not tell of a wait again that one of them saw long ago', async () => {
    const key = await register();
    const late = heldLook();
    const heldUp = pollingProcess().poll(key, late.look);
    const { poll } = pollingProcess();
    await poll(key, seen(key, 'awaiting_human_feedback'));
    const nextPollAt = await poll(key, seen(key, 'running'));
    late.come(seen(key, 'awaiting_human_feedback'));
    expect(await heldUp).toEqual(nextPollAt);
    expect(await told(key)).toEqual(['run.awaiting_human_feedback', 'run.resumed']);
  });
});

describe('a poll during which somebody', () => {
  test('stops watching tells nobody', async () => {
    const key = await register();
    const { look, come } = heldLook();
    const polled = pollingProcess().poll(key, look);
    expect(await endWatch(key)).toBe(true);
    come(seen(key, 'failed'));
    expect(await polled).toBeNull();
    expect(await told(key)).toEqual([]);
    expect((await watches.get(key))?.watch.state).toBe('cancelled');
  });

  test('subscribes tells them, too', async () => {
    const key = await register();
    const { look, come } = heldLook();
    const polled = pollingProcess().poll(key, look);
    await registerWatches([{ ...key, subscriptions: [audit] }]);
    come(seen(key, 'completed'));
    expect(await polled).toBeNull();
    expect(await fanOut(key)).toEqual(['run.completed to audit', 'run.completed to ops']);
  });

  test('stops watching and begins anew counts for the new watch', async () => {
    const key = await register();
    const { look, come } = heldLook();
    const polled = pollingProcess().poll(key, look);
    await endWatch(key);
    await registerWatches([{ ...key, subscriptions: [audit] }]);
    come(seen(key, 'completed'));
    expect(await polled).toBeNull();
    expect(await fanOut(key)).toEqual(['run.completed to audit']);
  });
});

describe('a registration that races with the end of a run', () => {
  test('is told of the end exactly once', async () => {
    // From the poll being far behind to its being far ahead, one step of the event loop at a time.
    const rounds = Array.from({ length: 60 }, async (_, round) => {
      const key = await register();
      const { poll } = pollingProcess();
      await Promise.all([
        steps(30 - round).then(() => poll(key, seen(key, 'stopped'))),
        steps(round - 30).then(() => registerWatches([{ ...key, subscriptions: [audit] }])),
        steps(round - 32).then(() => registerWatches([{ ...key, subscriptions: [audit, ops] }])),
      ]);
      expect(await fanOut(key)).toEqual(['run.stopped to audit', 'run.stopped to ops']);
      expect(await told(key)).toEqual(['run.stopped']);
    });
    await Promise.all(rounds);
  });
});

describe('a process that dies', () => {
  test('after it wrote a change and before it told of that leaves its deliveries to the next look', async () => {
    const key = await register({ subscriptions: [{ kind: 'endpoint', endpoint: 'untold' }] });
    await pollingProcess({ dispatch: lose }).poll(key, seen(key, 'failed'));
    const due = await gates.dueBy(Date.now(), 1_000);
    expect(due.map(({ gate }) => gate)).toContain('untold');
    const limits = { concurrency: 4, rate: null, deadlineMs: 15_000 };
    const claimed = await gates.claim([{ gate: 'untold', limits, most: 4 }], Date.now());
    expect(claimed.map(({ stored }) => stored.delivery)).toMatchObject([
      { runId: key.runId, eventType: 'run.failed' },
    ]);
  });

  test('before it hears that its change was written does not tell of it again', async () => {
    const key = await register();
    const commit: typeof watches.commit = async (change) => {
      await watches.commit(change);
      throw new Error('the connection broke');
    };
    const cut = {
      get: watches.get.bind(watches),
      getForPoll: watches.getForPoll.bind(watches),
      commit,
    };
    const poll = pollingProcess({ watches: cut }).poll(key, seen(key, 'failed'));
    await expect(poll).rejects.toThrow('the connection broke');
    expect(await pollingProcess().poll(key, seen(key, 'failed'))).toBeNull();
    expect(await told(key)).toEqual(['run.failed']);
    expect(await fanOut(key)).toEqual(['run.failed to ops']);
  });
});
