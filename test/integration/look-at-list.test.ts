import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { BACKSTOP_MS } from '../../src/core/feed/batch.ts';
import type { ListKey } from '../../src/core/feed/list-standing.ts';
import type { ListOutcome, ListedRun } from '../../src/core/feed/run-list.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import type { StoredWatch, WatchKey } from '../../src/core/watch/watch.ts';
import type { ListReport, LookAtListDependencies } from '../../src/poll/list-look.ts';
import { createLookAtList } from '../../src/poll/look-at-list.ts';
import { createSinglePolls } from '../../src/poll/single-polls.ts';
import { newWatch, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
afterAll(() => stores.close());

const INTERVAL_MS = 2_000;

/** For how long a source asks to be left alone. */
const PAUSE_MS = 5_000;

let workflows = 0;
let list: ListKey;
let reports: ListReport[];
/** What was done to single polls, in order. */
let moves: string[];
/** Permits that were not used. */
let givenBack: number;
/** Happens just before polls are moved. */
let meanwhile: () => Promise<void>;

beforeEach(() => {
  list = { source: 'default', workflowId: `workflow-${(workflows += 1)}` };
  reports = [];
  moves = [];
  givenBack = 0;
  meanwhile = async () => undefined;
});

const keyOf = (number: number): WatchKey => ({
  source: list.source,
  runId: `${list.workflowId}.${number}`,
});

/** Watches of runs that were read just now and are polled every two seconds. */
async function watches(
  count: number,
  run: Partial<RunSnapshot> = {},
  readAgoMs = 0,
): Promise<WatchKey[]> {
  const keys = Array.from({ length: count }, (_, number) => keyOf(number));
  const now = Date.now();
  await stores.watches.commitMany(
    keys.map((key) => ({
      before: null,
      after: newWatch({
        ...key,
        run: snapshot({
          id: key.runId,
          workflow_id: list.workflowId,
          observed_at: new Date(now).toISOString(),
          ...run,
        }),
        lastPolledAt: now - readAgoMs,
        timeoutAt: now + 1e9,
      }),
      events: [],
      deliveries: [],
      samples: [],
      schedule: { does: 'enter' as const, withinMs: INTERVAL_MS, kind: 'watch' as const },
    })),
  );
  return keys;
}

function page(runs: Partial<ListedRun>[]): ListOutcome {
  const full = runs.map((run) => {
    const { id, status, progress, created_at, finished_at } = snapshot({ ...run });
    return { id, workflow_id: list.workflowId, status, progress, created_at, finished_at };
  });
  return { kind: 'page', page: { runs: full, isLast: true, isCut: false } };
}

const running = (keys: WatchKey[]) => page(keys.map(({ runId }) => ({ id: runId })));

/** A process that looks at the list, which gives it an answer. */
function looker(answer: ListOutcome | (() => ListOutcome), kill?: () => void) {
  const now = Date.now;
  const mortal = <Result>(act: () => Promise<Result>): Promise<Result> => {
    kill?.();
    return act();
  };
  const { requests } = stores;
  const scheduleOf = () => ({
    expedite: (runIds: readonly string[]) =>
      mortal(async () => void moves.push(...runIds.map((runId) => `expedite ${runId}`))),
    defer: (wanted: readonly { runId: string; from: number; to: number }[]) =>
      mortal(async () => {
        moves.push(...wanted.map(({ runId }) => `defer ${runId}`));
        await meanwhile();
        const moved = wanted.map(({ runId, ...times }) => ({ member: runId, ...times }));
        await requests.defer(list.source, moved);
      }),
  });
  const memberOf = ({ watch, version }: StoredWatch) => ({
    watch: { ...watch, run: watch.run! },
    version,
    createdAt: Date.parse(watch.run!.created_at!),
    intervalMs: INTERVAL_MS,
    followsProgress: false,
    latestAt: Infinity,
  });
  const deps: LookAtListDependencies = {
    lists: {
      getForLook: (key) => mortal(() => stores.lists.getForLook(key)),
      put: (key, standing) => mortal(() => stores.lists.put(key, standing)),
    },
    watches: { getMany: (keys) => mortal(() => stores.watches.getMany(keys)) },
    polls: createSinglePolls({
      scheduleOf,
      now,
      random: Math.random,
    }),
    readerOf: () => ({
      readPage: () => mortal(async () => (typeof answer === 'function' ? answer() : answer)),
    }),
    budgetOf: () => ({ request: async () => ({ settle: () => undefined }) }),
    memberOf,
    minIntervalMs: 10,
    report: (report) => reports.push(report),
    now,
    random: Math.random,
  };
  const look = createLookAtList(deps);
  const permit = { settle: () => undefined, giveBack: () => void (givenBack += 1) };
  return () => look({ list, permit });
}

const read = async (keys: WatchKey[]) =>
  (await stores.watches.getMany(keys)).flatMap((stored) => (stored ? [stored.watch] : []));

const dueTimes = (keys: WatchKey[]) =>
  stores.requests.dueTimes(
    list.source,
    keys.map(({ runId }) => runId),
  );

const putOff = async (keys: WatchKey[]) =>
  (await dueTimes(keys)).filter((at) => (at ?? 0) > Date.now() + BACKSTOP_MS / 2);

const FORBIDDEN: ListOutcome = { kind: 'not_offered', status: 403, message: 'status 403' };

describe('a look at a list', () => {
  test('puts off the single polls of what has not changed, once', async () => {
    const keys = await watches(4);
    const look = looker(running(keys));
    const { dueAt } = (await look()) as { dueAt: number };
    expect(dueAt).toBeLessThan(Date.now() + INTERVAL_MS);
    expect(await putOff(keys)).toHaveLength(4);
    expect(moves.toSorted()).toEqual(keys.map(({ runId }) => `defer ${runId}`).toSorted());
    await look();
    expect(moves).toHaveLength(4);
  });

  test('reads a run by itself where none was for long, once, for the list may stand still', async () => {
    const keys = await watches(3, {}, 20_000);
    const look = looker(running(keys));
    await look();
    await look();
    expect(moves.filter((one) => one.startsWith('expedite'))).toHaveLength(1);
  });

  test('moves no poll away from the time that was set meanwhile', async () => {
    const keys = await watches(2);
    meanwhile = () => stores.requests.expedite(list.source, [keys[0]!.runId]);
    await looker(running(keys))();
    const [first] = await dueTimes(keys);
    expect(first).toBeLessThanOrEqual(Date.now());
    expect(await putOff(keys)).toHaveLength(1);
  });

  test('expedites what has changed, and writes nothing of it', async () => {
    const keys = await watches(2);
    const before = await read(keys);
    await looker(page([{ id: keys[0]!.runId, status: 'failed' }, { id: keys[1]!.runId }]))();
    expect(moves).toContain(`expedite ${keys[0]!.runId}`);
    expect((await read(keys))[0]).toEqual(before[0]);
    expect((await stores.events.list({}, { limit: 10 })).items).toEqual([]);
  });

  test('ends where fewer than two watches are left', async () => {
    const keys = await watches(1);
    expect(await looker(running(keys))()).toBeNull();
    expect(reports).toEqual([]);
    expect(givenBack).toBe(1);
  });

  test('reads no more of a list that was given up until that may be tried again', async () => {
    const keys = await watches(3);
    const until = await looker(FORBIDDEN)();
    expect(await looker(running(keys))()).toEqual(until);
    expect(reports.map(({ outcome }) => outcome)).toEqual(['not_offered']);
    expect(await putOff(keys)).toEqual([]);
  });

  test('leaves single polls to themselves where the list alone keeps the source paused', async () => {
    const keys = await watches(3);
    await looker(running(keys))();
    const throttled: ListOutcome = {
      kind: 'rate_limited',
      retryAfterMs: PAUSE_MS,
      message: 'status 429',
    };
    await looker(throttled)();
    expect(await putOff(keys)).toHaveLength(3);
    const at = Date.now();
    const { dueAt } = (await looker(throttled)()) as { dueAt: number };
    expect(reports.map(({ outcome }) => outcome)).toEqual(['ok', 'rate_limited', 'throttled']);
    expect(dueAt).toBeGreaterThan(at + 2 * PAUSE_MS);
    expect(await putOff(keys)).toEqual([]);
  });

  test('finds a list out that shows as running what has long since ended', async () => {
    const keys = await watches(3);
    const [ended] = await stores.watches.getMany(keys);
    const observed_at = new Date(Date.now() - 60_000).toISOString();
    await stores.watches.commit({
      before: ended!,
      after: {
        ...ended!.watch,
        state: 'finished',
        run: { ...ended!.watch.run!, status: 'completed', observed_at },
      },
      events: [],
      deliveries: [],
      samples: [],
    });
    await looker(running(keys))();
    expect(reports).toMatchObject([{ outcome: 'disagrees' }]);
  });
});

describe('a process that dies in a look, wherever that is', () => {
  /** Lets processes die one step later each time, until one lives. @returns how many died */
  async function dieEverywhere(answer: ListOutcome, prepare: () => Promise<unknown>) {
    for (let deaths = 0; ; deaths += 1) {
      await prepare();
      let steps = 0;
      const died = await looker(answer, () => {
        if (steps === deaths) throw new Error('killed');
        steps += 1;
      })().then(
        () => false,
        () => true,
      );
      if (!died) return deaths;
      await looker(answer)();
    }
  }

  test('leaves no single poll put off by a list that fails', async () => {
    const keys = await watches(3);
    const deaths = await dieEverywhere(FORBIDDEN, async () => {
      await stores.redis.del(stores.keys.listStanding(list));
      await looker(running(keys))();
      expect(await putOff(keys)).toHaveLength(3);
    });
    expect(deaths).toBeGreaterThan(3);
    expect(await putOff(keys)).toEqual([]);
  });

  test('makes no event and no snapshot', async () => {
    const keys = await watches(3);
    const runs = (await read(keys)).map(({ run }) => run);
    const claims = page(keys.map(({ runId }) => ({ id: runId, status: 'completed' })));
    const deaths = await dieEverywhere(claims, async () => {
      await stores.redis.del(stores.keys.listStanding(list));
      moves = [];
    });
    expect(deaths).toBeGreaterThan(2);
    expect((await read(keys)).map(({ run }) => run)).toEqual(runs);
    expect((await stores.events.list({}, { limit: 10 })).items).toEqual([]);
    expect(new Set(moves)).toEqual(new Set(keys.map(({ runId }) => `expedite ${runId}`)));
  });
});
