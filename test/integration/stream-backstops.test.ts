import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { configSchema } from '../../src/config/schema.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import type { EventStreams, StreamEnd } from '../../src/core/feed/run-stream.ts';
import { PLAN_MEMBER, streamMember } from '../../src/core/feed/page-name.ts';
import { hashOf } from '../../src/core/feed/stream-trust.ts';
import type { RunNodes } from '../../src/core/run/nodes.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { StreamFeed } from '../../src/source/stream-feed.ts';
import { RunObserver } from '../../src/source/observer.ts';
import { Schedule } from '../../src/source/schedule.ts';
import { newWatch, POLICY, snapshot } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { redis, keys, requests, watches } = stores;
const feeds: StreamFeed[] = [];

/** A stream that outlived the connection would fail in another test. */
afterEach(async () => {
  for (const feed of feeds.splice(0)) await feed.stop();
});
afterAll(() => stores.close());

const config = configSchema.parse({ data_dir: '/nowhere', polling: { hint_streams: 100 } });

const WORKFLOW = 'ab000000-0000-4000-8000-000000000001';
const BACKSTOP_MS = 120_000;

/** Cadences are below this, and backstops above, ms. */
const SOON_MS = 80_000;

let names = 0;

/** A run that is neither a sample nor keeps its cadence. */
function plainRunId(): string {
  for (;;) {
    const id = `run-${(names += 1)}`;
    if (hashOf(id) % 20 > 1) return id;
  }
}

const ignore = () => undefined;

/** Event streams that the test opens, feeds and ends. */
class ManualStreams implements Omit<EventStreams, 'close'> {
  private readonly streams = new Map<
    string,
    { listener: Parameters<EventStreams['follow']>[1]; end: (end: StreamEnd) => void }
  >();

  follow(runId: string, listener: Parameters<EventStreams['follow']>[1]): Promise<StreamEnd> {
    return new Promise((resolve) => {
      this.streams.set(runId, { listener, end: resolve });
      listener.signal.addEventListener('abort', () => resolve({ kind: 'closed' }));
    });
  }

  useApiKey(): void {}

  live(runId: string): void {
    this.streams.get(runId)?.listener.onLive();
  }

  say(runId: string, status: string, nodes: RunNodes | null = null): void {
    this.streams.get(runId)?.listener.onNote({ status, nodes, redisId: '1-1' });
  }

  end(runId: string, kind: 'ended' | 'garbage' = 'ended'): void {
    this.streams.get(runId)?.end({ kind });
    this.streams.delete(runId);
  }
}

/** The schedule of a source, in which streams enter only plans, and nothing is due. */
function withoutFeeds(schedule: Schedule) {
  const enterFeed: Schedule['enterFeed'] = async (kind, members) => {
    if (kind === 'plan') await schedule.enterFeed(kind, members);
  };
  return new Proxy(schedule, {
    get(whole, name) {
      if (name === 'enterFeed') return enterFeed;
      if (name === 'countDue') return async () => 0;
      const member: unknown = Reflect.get(whole, name);
      return typeof member === 'function' ? member.bind(whole) : member;
    },
  });
}

/** A process that polls and streams runs of a source, when the test says so. */
function processOn(sourceName: string) {
  const id = `process-${(names += 1)}`;
  const streams = new ManualStreams();
  let answered: Promise<PollResult> = Promise.reject(new Error('nothing is to be read'));
  answered.catch(() => undefined);
  const source = testSource({
    process: testProcess({
      config,
      id,
      stores,
      statistics: { lookup: nothingLearned, learn: ignore },
      endpoints: { wants: () => false },
      random: () => 0.5,
    }),
    name: sourceName,
    policy: POLICY,
    limiter: { limit: { requests: 1_000, perMs: 1_000 } },
    throttle: { asks: () => ({ at: Date.now(), access: '' }) },
    reader: { readRun: () => answered, follow: streams.follow.bind(streams) },
    polled: ({ watch, outcome }) => {
      if (outcome === 'run') void feed.polled({ watch, outcome, events: [] } as never);
    },
  });
  const schedule = new Schedule(source);
  const feed = new StreamFeed(source);
  const observer = new RunObserver(source);
  Object.assign(source, { streams: feed, schedule: withoutFeeds(schedule) });
  feeds.push(feed);
  return {
    id,
    schedule,
    streams,
    feed,
    /** Claims the poll of a run that is due. @returns what ends the poll; null where none is due */
    async beginPoll(status = 'running') {
      const [claim] = (await schedule.claim(1)).claims;
      if (claim === undefined || claim.stored === null) return null;
      const { member: runId, token, stored } = claim;
      let answer: (result: PollResult) => void = ignore;
      answered = new Promise((resolve) => (answer = resolve));
      const polled = observer.observe({
        stored,
        token,
        lagMs: 0,
        permitMs: null,
      });
      return async () => {
        answer({ kind: 'run', run: snapshot({ id: runId, status, workflow_id: WORKFLOW }) });
        const { is } = await polled;
        if (is === 'unwatched') await schedule.release(claim, 'never');
        else schedule.settled(claim, null);
      };
    },
    async open(runId: string) {
      const claim = { member: streamMember(runId), token: `${id}.0` };
      const permit = { settle: ignore, giveBack: ignore };
      await feed.openClaimed(claim as Parameters<typeof feed.openClaimed>[0], permit);
    },
  };
}

/** A watched run that was read a moment ago, in a source of its own with believed streams. */
async function watched(changes: Partial<Watch> = {}) {
  const source = `source-${(names += 1)}`;
  const runId = plainRunId();
  const now = Date.now();
  const run = snapshot({ id: runId, status: 'running', workflow_id: WORKFLOW });
  const after = newWatch({
    source,
    runId,
    run,
    runAskedAt: now,
    lastPolledAt: now,
    timeoutAt: now + 3_600_000,
    cadence: { intervalMs: 2_000, failures: 0 },
    ...changes,
  });
  await watches.commitMany([
    {
      before: null,
      after,
      events: [],
      deliveries: [],
      schedule: { does: 'enter', withinMs: 2_000, kind: 'watch' },
    },
  ]);
  const told = ['completed', 'failed'].flatMap((kind) => [
    `${WORKFLOW}/${kind}`,
    '1'.repeat(20),
    `/${kind}`,
    '1'.repeat(20),
  ]);
  await redis.hset(keys.streamTrust(source), ...told);
  const dueIn = async () => {
    const [at] = await requests.dueTimes(source, [runId]);
    return at === null || at === undefined ? null : at - Date.now();
  };
  const becomes = async (is: (ms: number | null) => boolean) =>
    waitFor(async () => is(await dueIn()));
  return { source, runId, dueIn, becomes };
}

const isSoon = (ms: number | null) => ms !== null && ms < SOON_MS;
const isLate = (ms: number | null) => ms !== null && ms > SOON_MS;

/** A process that follows the run: reads are left to the stream. */
async function following(watch: Pick<Awaited<ReturnType<typeof watched>>, 'source' | 'runId'>) {
  const process = processOn(watch.source);
  await process.feed.tend();
  await process.open(watch.runId);
  process.streams.live(watch.runId);
  process.streams.say(watch.runId, 'running');
  await waitFor(async () => (await stores.streams.held(watch.source, watch.runId))?.isRelied);
  return process;
}

describe('reads that are left to a stream', () => {
  test('a stream that is believed postpones the next read of its run to the backstop', async () => {
    const watch = await watched();
    await following(watch);
    expect(isLate(await watch.dueIn())).toBe(true);
  });

  test('a read is due within the cadence again once the stream is gone', async () => {
    const watch = await watched();
    const process = await following(watch);
    process.streams.end(watch.runId, 'garbage');
    await watch.becomes(isSoon);
  });

  test('a process that stops leaves a plan of lists that show its runs', async () => {
    const watch = await watched();
    const process = await following(watch);
    await process.feed.stop();
    const [plan] = await requests.dueTimes(watch.source, [PLAN_MEMBER]);
    expect(Number(plan) - Date.now()).toBeLessThanOrEqual(2_000);
    expect(isSoon(await watch.dueIn())).toBe(true);
  });

  test('a stream that breaks during a poll of its own process does not leave the run to itself', async () => {
    const watch = await watched();
    const process = await following(watch);
    await process.schedule.expedite([watch.runId]);
    const finish = await process.beginPoll();
    process.streams.end(watch.runId, 'garbage');
    await finish?.();
    await watch.becomes(isSoon);
  });

  test('a stream that breaks during a poll of another process does not leave the run to itself', async () => {
    const watch = await watched();
    const [process, other] = [await following(watch), processOn(watch.source)];
    await other.feed.tend();
    await process.schedule.expedite([watch.runId]);
    const finish = await other.beginPoll();
    process.streams.end(watch.runId, 'garbage');
    await waitFor(async () => (await stores.streams.count(watch.source)) === 0);
    await finish?.();
    await watch.becomes(isSoon);
  });

  test('a read that a hint or user made due is not postponed', async () => {
    const watch = await watched();
    const process = processOn(watch.source);
    await process.feed.tend();
    await process.open(watch.runId);
    process.streams.live(watch.runId);
    await process.schedule.expedite([watch.runId]);
    process.streams.say(watch.runId, 'running');
    await waitFor(async () => {
      return (await stores.streams.held(watch.source, watch.runId))?.isRelied === true;
    });
    expect(await watch.dueIn()).toBeLessThanOrEqual(0);
  });

  test('a list does not postpone a read that was due already and that a hint asked for', async () => {
    const watch = await watched();
    const [from] = await requests.dueTimes(watch.source, [watch.runId]);
    const dueSet = keys.requestsDue(watch.source);
    const past = Date.now() - 1_000;
    await redis.zadd(dueSet[2] ?? '', past, watch.runId);
    await requests.expedite(watch.source, [watch.runId]);
    const move = { member: watch.runId, from: past, to: (from ?? 0) + 60_000 };
    await requests.defer(watch.source, [move]);
    expect(await watch.dueIn()).toBeLessThanOrEqual(0);
  });

  test('reminders, stalls and limits of a watch bound how far a read is postponed', async () => {
    const now = Date.now();
    const acknowledged = { by: 'ana', comment: null, at: now, until: now + 40_000 };
    const watch = await watched({ acknowledged, cadence: { intervalMs: 2_000, failures: 0 } });
    await following(watch);
    expect(await watch.dueIn()).toBeLessThanOrEqual(40_000);
    const urgent = await watched({ maxDelayMs: 35_000 });
    await following(urgent);
    expect(await urgent.dueIn()).toBeLessThanOrEqual(35_000);
  });

  test('runs of a dead process are read at the rate limit, the urgent and the nearly done first', async () => {
    const { source, runId } = await watched();
    const process = processOn(source);
    const others = [
      { runId: plainRunId(), profile: 'urgent' as const, progress: 0 },
      { runId: plainRunId(), profile: 'normal' as const, progress: 90 },
    ];
    await watches.commitMany(
      others.map(({ progress, ...one }) => ({
        before: null,
        after: newWatch({
          source,
          timeoutAt: Date.now() + 3_600_000,
          run: snapshot({ id: one.runId, status: 'running', progress }),
          ...one,
        }),
        events: [],
        deliveries: [],
        schedule: { does: 'enter', withinMs: 60_000, kind: 'watch' },
      })),
    );
    const runIds = [runId, ...others.map((one) => one.runId)];
    for (const id of runIds) await stores.streams.take(source, id, 'dead', 10);
    await process.feed.takeOver('dead');
    const due = await requests.dueTimes(source, runIds);
    const order = runIds.toSorted(
      (a, b) => Number(due[runIds.indexOf(a)]) - Number(due[runIds.indexOf(b)]),
    );
    expect(order).toEqual([others[0]?.runId, others[1]?.runId, runId]);
    expect(Math.max(...due.map(Number)) - Date.now()).toBeLessThan(1_000);
    expect(await stores.streams.count(source)).toBe(0);
  });

  test('a run that a forgotten process is said to stream is given back and read', async () => {
    const watch = await watched();
    const process = processOn(watch.source);
    await stores.processes.beat(process.id);
    await stores.streams.take(watch.source, watch.runId, 'forgotten', 10);
    const held = { process: 'forgotten', isRelied: true, nodes: null };
    const stored = (await stores.watches.get(watch))!;
    const move = { to: 'later', inMs: BACKSTOP_MS, watch: stored } as const;
    await stores.streams.note(watch.source, watch.runId, { held, move });
    await watch.becomes(isLate);
    for (let turn = 0; turn < 6; turn += 1) await process.feed.tend();
    await watch.becomes(isSoon);
  });

  test('whatever comes in between, a run without its stream is due within its cadence', async () => {
    const step = fc.constantFrom(
      'expedite',
      'begin own',
      'begin other',
      'finish',
      'open own',
      'open other',
      'live',
      'say',
      'hint',
      'break own',
      'break other',
      'tend',
      'die',
    );
    // By single steps alone, a stream would hardly ever break while a run left to it is polled.
    const part = fc.oneof(
      { arbitrary: fc.tuple(step), weight: 5 },
      { arbitrary: fc.constant(['open own', 'live', 'say', 'tend'] as const), weight: 2 },
      { arbitrary: fc.constant(['expedite', 'begin own'] as const), weight: 1 },
      { arbitrary: fc.constant(['expedite', 'begin other'] as const), weight: 1 },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 4, maxLength: 16 }), async (parts) => {
        const watch = await watched();
        const { source, runId } = watch;
        const both = [processOn(source), processOn(source)] as const;
        const [process, other] = both;
        await Promise.all(both.map(({ feed }) => feed.tend()));
        const polls: (() => Promise<void>)[] = [];
        const begin = async (by: typeof process) => {
          const finish = await by.beginPoll();
          if (finish !== null) polls.push(finish);
        };
        const act: Record<
          typeof step extends fc.Arbitrary<infer One> ? One : never,
          () => unknown
        > = {
          expedite: () => process.schedule.expedite([runId]),
          'begin own': () => begin(process),
          'begin other': () => begin(other),
          finish: () => polls.shift()?.(),
          'open own': () => process.open(runId),
          'open other': () => other.open(runId),
          live: () => both.forEach(({ streams }) => streams.live(runId)),
          say: () => both.forEach(({ streams }) => streams.say(runId, 'running')),
          hint: () => both.forEach(({ streams }) => streams.say(runId, 'awaiting_human_feedback')),
          'break own': () => process.streams.end(runId, 'garbage'),
          'break other': () => other.streams.end(runId, 'garbage'),
          tend: () => Promise.all(both.map(({ feed }) => feed.tend())),
          async die() {
            await other.schedule.takeOver(process.id);
            await other.feed.takeOver(process.id);
          },
        };
        for (const one of parts.flat()) {
          const done = act[one]();
          // Some of the steps are under way when the next one comes.
          if (!one.startsWith('open')) await done;
        }
        for (const finish of polls) await finish();
        await Promise.all(both.map(({ feed }) => feed.stop()));
        await watch.becomes(isSoon);
      }),
      { numRuns: 100 },
    );
  });
});
