import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import { isoTime, type OwnEvent } from '../../src/core/event/event.ts';
import { pageMember } from '../../src/core/feed/page-name.ts';
import type { RunList } from '../../src/core/feed/run-list.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { Subscription } from '../../src/core/watch/watch.ts';
import { SystemEvents } from '../../src/daemon/system-events.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { ListDiscovery, RememberedCursors } from '../../src/source/discovery.ts';
import { RunObserver } from '../../src/source/observer.ts';
import type { RequestClaim } from '../../src/source/schedule.ts';
import { endWatch } from '../../src/watches/end.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { NOON, POLICY, snapshot, webhookTo } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { FakeRunList } from '../support/fake-run-list.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys, watches, deliveries, events, requests } = stores;
afterAll(() => stores.close());

const ENTRY = 'run.awaiting_human_feedback';
const WAITS = 'awaiting_human_feedback';
const ENDPOINTS = {
  ops: { type: 'log' },
  // Names what the notice stands for, and not the notice.
  waits: { type: 'log', events: [ENTRY] },
  ends: { type: 'log', events: ['run.completed'] },
  audit: { type: 'log', events: ['system.*'] },
};
const WITHIN_MS = 120_000;

let sources = 0;
let tokens = 0;

type Status = 'running' | typeof WAITS | 'completed';

/** One source, and processes that read its list and poll its runs, and may die. */
class Rig {
  readonly source: string;
  private list: RunList;
  readonly world = new FakeRunList();
  private readonly status = new Map<string, Status>();
  /** How often each run has moved: a run that moves on is in another wait. */
  private readonly moves = new Map<string, number>();
  private aheadMs = 0;
  private stepsLeft = Infinity;
  private cursors: RememberedCursors;
  private config: Config;

  constructor() {
    sources += 1;
    this.source = `source-${sources}`;
    this.list = { source: this.source, workflowId: null };
    this.config = this.configOf({});
    this.cursors = this.newCursors();
  }

  /** Starts it anew with the list of this workflow; null for that of all. */
  readListOf(workflowId: string | null): void {
    this.list = { source: this.source, workflowId };
    this.restart();
  }

  async first() {
    const [cursor] = await stores.discoveries.cursors([this.list]);
    return cursor?.first;
  }

  /** Starts it anew with a time from which on runs are discovered, s after noon. */
  reach(sinceS: number): void {
    this.config = this.configOf({ since: isoTime(NOON + sinceS * 1_000) });
    this.restart();
  }

  begin(count: number, status: Status, atS = 0): string[] {
    const runs = this.world.begin(count, atS, status);
    for (const run of runs) this.status.set(run, status);
    return runs;
  }

  move(run: string, status: Status): void {
    this.status.set(run, status);
    this.moves.set(run, this.movesOf(run) + 1);
    this.world.move(run, status);
  }

  statusOf(run: string): Status {
    return this.status.get(run) ?? 'completed';
  }

  /** Another process takes over, which knows only what is stored. */
  restart(): void {
    this.cursors = this.newCursors();
  }

  wait(ms: number): void {
    this.aheadMs += ms;
  }

  /**
   * Reads the list from its first page on.
   * @param steps after how many of its steps in the store the process dies
   * @returns whether it lived
   */
  async pass(steps = Infinity): Promise<boolean> {
    const member = pageMember({ workflowId: this.list.workflowId, page: 1 });
    const token = `process-${(tokens += 1)}.1`;
    await redis.hset(keys.requestClaims(this.source), member, `${token} 0 `);
    const discovery = new ListDiscovery(this.sourceOf(), this.list, {
      cursors: this.cursors,
      signal: new AbortController().signal,
    });
    const claim = { member, token } as unknown as RequestClaim;
    this.stepsLeft = steps;
    try {
      await discovery.read({ list: this.list, plan: null, claim }, { settle: () => undefined });
      return true;
    } catch (error) {
      if (steps === Infinity) throw error;
      this.restart();
      return false;
    } finally {
      this.stepsLeft = Infinity;
    }
  }

  /** Has this run polled, or another one that is due. @returns which; null for none */
  async poll(run: string): Promise<string | null> {
    await requests.expedite(this.source, [run]);
    const limit = { requests: 100_000, perMs: 1_000 };
    const token = `process-${(tokens += 1)}.1`;
    const asked = { token, most: 1, limit, leaseMs: 60_000, roundMs: 0 };
    const [request] = (await requests.claim(this.source, asked)).claimed;
    if (request === undefined) return null;
    const claim = { ...request, stored: request.stored!, lagMs: 0, permitMs: null };
    await new RunObserver(this.sourceOf()).observe(claim);
    return claim.stored.watch.runId;
  }

  /** Polls each run that the list shows, or each of these, at least once. @param polled is called with each */
  async pollAll(
    runs = this.world.ids,
    polled: (run: string) => void = () => undefined,
  ): Promise<void> {
    const keysOf = runs.map((runId) => ({ source: this.source, runId }));
    const stored = await watches.getMany(keysOf);
    const left = new Set(
      stored.flatMap((one) => (one?.watch.state === 'active' ? [one.watch.runId] : [])),
    );
    while (left.size > 0) {
      for (const run of left) {
        const found = await this.poll(run);
        if (found === null) continue;
        polled(found);
        left.delete(found);
      }
    }
  }

  async register(run: string, subscriptions: Subscription[]): Promise<void> {
    const poller = { process: this.process(), sourceOf: () => undefined };
    await registerWatches(poller, [{ source: this.source, runId: run, subscriptions }]);
  }

  async cancel(run: string): Promise<void> {
    await endWatch(this.process(), { source: this.source, runId: run });
  }

  async watched(): Promise<string[]> {
    const ids = this.world.ids.map((runId) => ({ source: this.source, runId }));
    const stored = await watches.getMany(ids);
    return stored.flatMap((one) => one?.watch.runId ?? []).toReversed();
  }

  async notices() {
    const about = { sources: [this.source], type: ['discovery.waiting' as const] };
    const { items } = await events.list(about, { limit: 200 });
    return items.map(({ event }) => event as OwnEvent);
  }

  /** How often each notice or event of waits went to an endpoint, by run. */
  async told(run: string): Promise<{ byNotice: number; byEvent: number }> {
    const named = (await this.notices()).filter(({ data }) => runsOf(data).includes(run));
    const { items } = await deliveries.list(
      { runs: [{ source: this.source, runId: run }] },
      { limit: 100 },
    );
    const own = items.filter(
      ({ eventType, endpoint }) => eventType === ENTRY && endpoint === 'ops',
    );
    return { byNotice: named.length, byEvent: own.length };
  }

  private configOf(discover: object): Config {
    return configSchema.parse({
      data_dir: '/nowhere',
      sources: { [this.source]: { api_key: 'k', discover: { workflows: 'all', ...discover } } },
      endpoints: ENDPOINTS,
    });
  }

  private newCursors(): RememberedCursors {
    return new RememberedCursors(this.dying(stores.discoveries), [this.list]);
  }

  private process() {
    const process = testProcess({
      config: this.config,
      stores: {
        ...stores,
        watches: this.dying(watches),
        discoveries: this.dying(stores.discoveries),
      },
      statistics: { lookup: nothingLearned, learn: () => undefined },
      now: () => Date.now() + this.aheadMs,
      raise: (event, write) => new SystemEvents(process).raiseWith(event, write!),
    });
    return process;
  }

  private sourceOf() {
    return testSource({
      process: this.process(),
      name: this.source,
      policy: POLICY,
      traits: NOXUS_TRAITS,
      discovery: { isOn: true },
      reader: { readRun: async (run: string) => this.resultOf(run) },
      lists: {
        read: async (_, { page, size }) => ({
          outcome: this.world.readPage({ workflowId: null, page, size }),
          nextMs: null,
        }),
      },
      limiter: { claim: async () => ({ settle: () => undefined }) },
      schedule: { renew: async () => true, entered: async () => undefined },
    });
  }

  /** The store as a process sees it that dies once it has made its last step. */
  private dying<Store extends object>(store: Store): Store {
    return new Proxy(store, {
      get: (of, name) => {
        const member = Reflect.get(of, name) as unknown;
        if (typeof member !== 'function') return member;
        return (...given: unknown[]) => {
          if ((this.stepsLeft -= 1) < 0) throw new Error('died');
          return Reflect.apply(member, of, given) as unknown;
        };
      },
    });
  }

  private movesOf(run: string): number {
    return this.moves.get(run) ?? 0;
  }

  private resultOf(id: string): PollResult {
    const status = this.statusOf(id);
    const run = snapshot({ id, status, progress: this.movesOf(id) });
    return { kind: 'run', run: { ...run, observed_at: new Date().toISOString() } };
  }
}

function runsOf(data: OwnEvent['data']): string[] {
  return (data['runs'] as { run_id: string }[]).map(({ run_id: run }) => run);
}

describe('runs that wait already when discovery begins', () => {
  test('300 of them are one notice to the endpoints that would have had the event of each, and none of the others', async () => {
    const rig = new Rig();
    const waiting = rig.begin(300, WAITS);
    await rig.pass();
    await rig.register(waiting[0]!, [webhookTo('https://example.com/hook', [ENTRY])]);
    expect(await rig.notices()).toEqual([]);
    await rig.pollAll();
    await rig.pass();
    await rig.pass();
    const [notice, ...others] = await rig.notices();
    expect(others).toEqual([]);
    expect(notice?.data).toMatchObject({
      source: rig.source,
      workflow_id: null,
      count: 300,
      message: '300 runs have waited for a human since before discovery began',
    });
    expect(runsOf(notice!.data)).toHaveLength(100);
    const { items } = await deliveries.list({ eventId: notice!.id }, { limit: 10 });
    expect(items.map(({ endpoint }) => endpoint).toSorted()).toEqual(['audit', 'ops', 'waits']);
    const first = { runs: [{ source: rig.source, runId: waiting[0]! }] };
    const own = (await deliveries.list(first, { limit: 10 })).items;
    expect(own.map(({ endpoint }) => endpoint)).toEqual([
      expect.stringContaining('https://example.com/'),
    ]);
  });

  test('one that is polled late is in a notice of its own, and the others do not wait for it', async () => {
    const rig = new Rig();
    const runs = rig.begin(4, WAITS);
    await rig.pass();
    const polled = new Set<string>();
    while (polled.size < 3) polled.add((await rig.poll(runs[polled.size]!))!);
    const late = runs.find((run) => !polled.has(run));
    await rig.pass();
    expect(await rig.notices()).toEqual([]);
    rig.wait(WITHIN_MS);
    await rig.pass();
    await rig.pollAll();
    await rig.pass();
    const named = (await rig.notices()).map(({ data }) => runsOf(data).toSorted());
    expect(named).toEqual([runs.filter((run) => polled.has(run)).toSorted(), [late]]);
  });

  test('a wait that begins after the first pass has an event of its own', async () => {
    const rig = new Rig();
    const [run] = rig.begin(1, 'running');
    await rig.pass();
    await rig.pollAll();
    rig.move(run!, WAITS);
    await rig.pollAll();
    const [later] = rig.begin(1, WAITS, 100);
    await rig.pass();
    await rig.pollAll();
    await rig.pass();
    expect(await rig.notices()).toEqual([]);
    for (const one of [run!, later!])
      expect(await rig.told(one)).toEqual({ byNotice: 0, byEvent: 1 });
  });

  test('an earlier discover.since takes the runs that had ended since then, and no wait is notified again', async () => {
    const rig = new Rig();
    const ended = rig.begin(3, 'completed', -600);
    const [waits] = rig.begin(1, WAITS, -300);
    await rig.pass();
    await rig.pollAll();
    await rig.pass();
    expect(await rig.watched()).toEqual([waits]);
    expect(await rig.first()).toMatchObject({ taken: 1, waiting: 1, leftOut: 3, cutShortAt: null });
    rig.reach(-3_600);
    await rig.pass();
    expect(await rig.watched()).toEqual([...ended, waits]);
    await rig.pass();
    await rig.pass();
    expect(await rig.told(waits!)).toEqual({ byNotice: 1, byEvent: 0 });
  });

  test('a wait that a notice of another list has named is not notified again', async () => {
    const rig = new Rig();
    rig.readListOf('workflow-1');
    const [run] = rig.begin(1, WAITS);
    await rig.pass();
    await rig.pollAll();
    await rig.pass();
    rig.readListOf(null);
    for (let pass = 0; pass < 3; pass += 1) await rig.pass();
    expect(await rig.told(run!)).toEqual({ byNotice: 1, byEvent: 0 });
  });

  test('a run that the list shows no more when discovery begins once more is in the notice', async () => {
    const rig = new Rig();
    const [run] = rig.begin(1, WAITS);
    await rig.pass();
    rig.world.deleteNewest(1);
    rig.reach(-3_600);
    await rig.pass();
    await rig.pollAll([run!]);
    await rig.pass();
    expect(await rig.told(run!)).toEqual({ byNotice: 1, byEvent: 0 });
  });
});

type Action =
  | { do: 'pass'; dies: number | null }
  | { do: 'begin'; count: number; status: Status }
  | { do: 'move'; run: number; to: Status }
  | { do: 'poll'; run: number }
  | { do: 'poll all' | 'restart' | 'wait' | 'reach back' }
  | { do: 'cancel'; run: number };

const status = fc.constantFrom<Status>('running', WAITS, WAITS, 'completed');
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .option(fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 3 })))
      .map((dies): Action => ({ do: 'pass', dies })),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('begin' as const),
      count: fc.integer({ min: 1, max: 3 }),
      status,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('move' as const),
      run: fc.nat({ max: 11 }),
      to: status,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('poll' as const), run: fc.nat({ max: 11 }) }),
  },
  {
    weight: 5,
    arbitrary: fc
      .constantFrom('poll all' as const, 'restart' as const, 'wait' as const, 'reach back' as const)
      .map((name): Action => ({ do: name })),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('cancel' as const), run: fc.nat({ max: 11 }) }),
  },
);

/** What is expected of one run, without any of the code. */
interface Expected {
  /** Whether the first pass found it waiting. */
  isFound: boolean;
  /** What the last poll saw; null before the first. */
  seen: Status | null;
  /** How often polls have seen it begin to wait. */
  entries: number;
  /** Whether the wait of its first poll is the one in which it was found, and goes on. */
  isFirstWait: boolean;
}

/** Plays a source, and processes that watch it. */
async function play(actions: readonly Action[]): Promise<void> {
  const rig = new Rig();
  const runs = rig.begin(6, WAITS);
  const expected = new Map<string, Expected>();
  let atS = 0;
  let hasBegun = false;
  let reaches = false;
  let reached = false;
  const runAt = (index: number) => runs[index % runs.length]!;
  const polled = (run: string) => {
    const known = expected.get(run)!;
    const now = rig.statusOf(run);
    if (now === WAITS && known.seen !== WAITS) known.entries += 1;
    if (known.seen === null) known.isFirstWait = known.isFound && now === WAITS;
    else if (now !== WAITS) known.isFirstWait = false;
    known.seen = now;
  };
  const pass = async (dies: number | null) => {
    const isFirst = !hasBegun || (reaches && !reached);
    const reachesNow = reaches;
    const lived = await rig.pass(dies ?? Infinity);
    for (const run of await rig.watched()) {
      if (expected.has(run)) continue;
      const isFound = isFirst && rig.statusOf(run) === WAITS;
      expected.set(run, { isFound, seen: null, entries: 0, isFirstWait: false });
    }
    if (!lived) return;
    hasBegun = true;
    reached ||= reachesNow;
  };
  for (const one of actions) {
    switch (one.do) {
      case 'pass':
        await pass(one.dies);
        break;
      case 'begin':
        runs.push(...rig.begin(one.count, one.status, (atS += 120)));
        break;
      case 'move': {
        const run = runAt(one.run);
        // A wait that no poll sees end goes on for runwatch.
        const isHidden = rig.statusOf(run) !== (expected.get(run)?.seen ?? rig.statusOf(run));
        if (rig.statusOf(run) !== 'completed' && !isHidden) rig.move(run, one.to);
        break;
      }
      case 'poll': {
        const run = await rig.poll(runAt(one.run));
        if (run !== null) polled(run);
        break;
      }
      case 'poll all':
        await rig.pollAll(runs, polled);
        break;
      case 'restart':
        rig.restart();
        break;
      case 'wait':
        rig.wait(WITHIN_MS);
        break;
      case 'reach back':
        rig.reach(-3_600);
        reaches = true;
        break;
      case 'cancel':
        if (expected.has(runAt(one.run))) await rig.cancel(runAt(one.run));
        break;
    }
    await compare(rig, expected, false);
  }
  await pass(null);
  await rig.pollAll(runs, polled);
  for (let more = 0; more < 2; more += 1) await pass(null);
  await compare(rig, expected, true);
}

/** @param isSettled whether every run was polled, and the list read after that */
async function compare(
  rig: Rig,
  expected: ReadonlyMap<string, Expected>,
  isSettled: boolean,
): Promise<void> {
  for (const [run, { isFound, entries, isFirstWait, seen }] of expected) {
    const told = await rig.told(run);
    const first = isFound && entries > 0 && told.byEvent === entries - 1;
    const label = `${run}: ${JSON.stringify({ told, isFound, entries, isFirstWait, seen })}`;
    expect([label, told.byNotice <= 1]).toEqual([label, true]);
    expect([label, told.byEvent === entries || first]).toEqual([label, true]);
    if (told.byEvent === entries) expect([label, told.byNotice]).toEqual([label, 0]);
    const isActive =
      (await watches.get({ source: rig.source, runId: run }))?.watch.state === 'active';
    if (isSettled && first && isFirstWait && isActive) {
      expect([label, told.byNotice]).toEqual([label, 1]);
    }
  }
}

test('each wait is notified once, by the notice or by itself, wherever a process dies in the first pass or after it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 4, maxLength: 25 }), (actions) => play(actions)),
    { numRuns: 40 },
  );
});
