import { afterAll, describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { Registration } from '../../src/core/watch/register.ts';
import type { Subscription, WatchKey } from '../../src/core/watch/watch.ts';
import { endWatch } from '../../src/watches/end.ts';
import { RunObserver } from '../../src/source/observer.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { POLICY, snapshot } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { watches, events, deliveries, outbox, requests } = stores;
afterAll(() => stores.close());

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const audit: Subscription = { kind: 'endpoint', endpoint: 'audit' };

let runs = 0;
let tokens = 0;

const config = configSchema.parse({ data_dir: '/nowhere', watches: { timeout: '1h' } });
const common = {
  config,
  stores,
  endpoints: { wants: () => true },
  statistics: { lookup: nothingLearned, learn: () => undefined },
};
const poller = { process: testProcess(common), sourceOf: () => undefined };

/** Registers a new run with the endpoint `ops`. */
async function register(request: Partial<Registration> = {}): Promise<WatchKey> {
  // A source of its own, so that nothing else is due.
  const key = { source: `source-${(runs += 1)}`, runId: `observed-${runs}` };
  await registerWatches(poller, [{ ...key, subscriptions: [ops], ...request }]);
  return key;
}

function seen(key: WatchKey, status: string, progress = 0): PollResult {
  return { kind: 'run', run: snapshot({ id: key.runId, status, progress }) };
}

const limit = { requests: 1_000, perMs: 1_000 };

/** Claims the poll of a watch. */
async function claim({ source }: WatchKey, process = `process-${(tokens += 1)}`) {
  const token = `${process}.${(tokens += 1)}`;
  const { claimed } = await requests.claim(source, {
    token,
    most: 1,
    limit,
    leaseMs: 60_000,
    roundMs: 0,
  });
  const [request] = claimed;
  if (request === undefined) throw new Error('nothing was claimed');
  return { ...request, stored: request.stored!, lagMs: 0, permitMs: null };
}

/** Takes over the claims of a dead process. */
async function takeOver({ source }: WatchKey, process: string): Promise<void> {
  for await (const held of requests.heldBy(source, process)) {
    await requests.release(source, held, 'as before');
  }
}

/** A process with a `poll` that claims a watch and gets the given result. */
function pollingProcess(changes: Parameters<typeof testProcess>[0] = {}) {
  const dispatched: string[] = [];
  const id = `process-${(tokens += 1)}`;
  const dispatch = (names: string[]) => void dispatched.push(...names);
  const process = testProcess({ ...common, id, dispatch, ...changes });
  const poll = async (key: WatchKey, result: PollResult | Promise<PollResult>) => {
    const reader = { readRun: async () => result };
    const source = testSource({ process, name: key.source, policy: POLICY, reader });
    return new RunObserver(source).observe(await claim(key, id));
  };
  return { id, poll, dispatched };
}

/** A poll result that arrives when the test says so. */
function heldResult() {
  let arrive: (result: PollResult) => void = () => undefined;
  const result = new Promise<PollResult>((resolve) => (arrive = resolve));
  return { result, arrive };
}

/** Waits for this many turns of the event loop. */
async function steps(count: number): Promise<void> {
  for (let step = 0; step < count; step += 1) await new Promise(setImmediate);
}

async function eventTypes(key: WatchKey): Promise<string[]> {
  return (await events.list({ runs: [key] }, { limit: 100 })).items.map(({ event }) => event.type);
}

async function fanOut(key: WatchKey): Promise<string[]> {
  const { items } = await deliveries.list({ runs: [key] }, { limit: 100 });
  return items.map(({ eventType, endpoint }) => `${eventType} to ${endpoint}`).toSorted();
}

describe('poll that was taken over from a slow process', () => {
  test('a change that both the slow and the new process saw yields one event', async () => {
    const key = await register();
    const [first, second] = [pollingProcess(), pollingProcess()];
    const late = heldResult();
    const heldUp = first.poll(key, late.result);
    await waitFor(async () => (await requests.dueTimes(key.source, [key.runId]))[0] === null);
    await takeOver(key, first.id);
    expect(await second.poll(key, seen(key, 'failed'))).toEqual({ is: 'written', nextMs: null });
    late.arrive(seen(key, 'failed'));
    expect(await heldUp).toEqual({ is: 'lost' });
    expect(await eventTypes(key)).toEqual(['run.failed']);
    expect(await fanOut(key)).toEqual(['run.failed to ops']);
    expect([...first.dispatched, ...second.dispatched]).toHaveLength(1);
  });

  test('the late poll of a slow process yields no second event for an old wait', async () => {
    const key = await register();
    const late = heldResult();
    const first = pollingProcess();
    const heldUp = first.poll(key, late.result);
    await waitFor(async () => (await requests.dueTimes(key.source, [key.runId]))[0] === null);
    await takeOver(key, first.id);
    const { poll } = pollingProcess();
    await poll(key, seen(key, 'awaiting_human_feedback'));
    await requests.expedite(key.source, [key.runId]);
    await poll(key, seen(key, 'running', 50));
    late.arrive(seen(key, 'awaiting_human_feedback'));
    expect(await heldUp).toEqual({ is: 'lost' });
    expect(await eventTypes(key)).toEqual([
      'run.awaiting_human_feedback',
      'run.resumed',
      'run.progress',
    ]);
  });
});

describe('poll that takes a wait back', () => {
  test('a process that dies between two polls loses no wait and no end of one', async () => {
    const key = await register();
    const polls = ['awaiting_human_feedback', 'running', 'running', 'awaiting_human_feedback'];
    for (const [at, status] of polls.entries()) {
      // A new process each time: it knows what the store says.
      const { poll } = pollingProcess({ now: () => Date.now() + at * POLICY.minIntervalMs });
      await poll(key, seen(key, status));
      await requests.expedite(key.source, [key.runId]);
    }
    expect(await eventTypes(key)).toEqual([
      'run.awaiting_human_feedback',
      'run.resumed',
      'run.awaiting_human_feedback',
    ]);
  });
});

describe('poll during a change of its watch', () => {
  /** A poll in flight: its claim is made, its result has not arrived. */
  async function underWay(key: WatchKey) {
    const { result, arrive } = heldResult();
    const polled = pollingProcess().poll(key, result);
    await waitFor(async () => (await requests.dueTimes(key.source, [key.runId]))[0] === null);
    return { polled, arrive };
  }

  test('a poll during unwatching yields no event', async () => {
    const key = await register();
    const { polled, arrive } = await underWay(key);
    expect(await endWatch(poller.process, key)).toBe(true);
    arrive(seen(key, 'failed'));
    expect(await polled).toEqual({ is: 'unwatched' });
    expect(await eventTypes(key)).toEqual([]);
    expect((await watches.get(key))?.watch.state).toBe('cancelled');
  });

  test('a poll during a registration notifies the new subscription, too', async () => {
    const key = await register();
    const { polled, arrive } = await underWay(key);
    await registerWatches(poller, [{ ...key, subscriptions: [audit] }]);
    arrive(seen(key, 'completed'));
    expect(await polled).toEqual({ is: 'written', nextMs: null });
    expect(await fanOut(key)).toEqual(['run.completed to audit', 'run.completed to ops']);
  });

  test('a poll during unwatching and registering applies to the new watch, without a second request', async () => {
    const key = await register();
    const { polled, arrive } = await underWay(key);
    await endWatch(poller.process, key);
    await registerWatches(poller, [{ ...key, subscriptions: [audit] }]);
    expect(await requests.dueTimes(key.source, [key.runId])).toEqual([null]);
    arrive(seen(key, 'running'));
    expect(await polled).toMatchObject({ is: 'written' });
    // The registration has made the run due.
    const [due] = await requests.dueTimes(key.source, [key.runId]);
    expect(due).toBeLessThanOrEqual(Date.now());
    await pollingProcess().poll(key, seen(key, 'completed'));
    expect(await fanOut(key)).toContain('run.completed to audit');
    expect((await fanOut(key)).join()).not.toContain('to ops');
  });
});

describe('registration during the end of a run', () => {
  test('a registration that races with the end of a run gets one event', async () => {
    // From the poll being far behind to its being far ahead, one step of the event loop at a time.
    const rounds = Array.from({ length: 60 }, async (_, round) => {
      const key = await register();
      const { poll } = pollingProcess();
      await Promise.all([
        steps(30 - round).then(() => poll(key, seen(key, 'stopped'))),
        steps(round - 30).then(() => registerWatches(poller, [{ ...key, subscriptions: [audit] }])),
        steps(round - 32).then(() =>
          registerWatches(poller, [{ ...key, subscriptions: [audit, ops] }]),
        ),
      ]);
      expect(await fanOut(key)).toEqual(['run.stopped to audit', 'run.stopped to ops']);
      expect(await eventTypes(key)).toEqual(['run.stopped']);
    });
    await Promise.all(rounds);
  });
});

describe('process that dies during a poll', () => {
  test('deliveries of a process that died after the write are found in the due index', async () => {
    const key = await register({ subscriptions: [{ kind: 'endpoint', endpoint: 'untold' }] });
    await pollingProcess({ dispatch: () => undefined }).poll(key, seen(key, 'failed'));
    const due = await outbox.duePools(1_000);
    expect(due.map(({ pool }) => pool)).toContain('untold');
    const limits = { most: 4, rate: null, deadlineMs: 15_000 };
    const asked = { pool: 'untold', limits, most: 4, token: 'p.1', askedAt: 0 };
    const { claims } = await outbox.claim(asked);
    expect(claims.map(({ stored }) => stored.delivery)).toMatchObject([
      { runId: key.runId, eventType: 'run.failed' },
    ]);
  });

  test('a process that lost the reply of its write sends no second event', async () => {
    const key = await register();
    const commitPoll: typeof watches.commitPoll = async (change) => {
      await watches.commitPoll(change);
      throw new Error('the connection broke');
    };
    const cut = { get: watches.get.bind(watches), commitPoll };
    const poll = pollingProcess({ stores: { ...stores, watches: cut } }).poll(
      key,
      seen(key, 'failed'),
    );
    await expect(poll).rejects.toThrow('the connection broke');
    await expect(claim(key)).rejects.toThrow('nothing was claimed');
    expect(await eventTypes(key)).toEqual(['run.failed']);
    expect(await fanOut(key)).toEqual(['run.failed to ops']);
  });
});
