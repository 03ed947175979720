import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { configSchema } from '../../src/config/schema.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import { isOfRun, isoTime } from '../../src/core/event/event.ts';
import { watchEventId } from '../../src/core/event/ids.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import { register } from '../../src/core/watch/register.ts';
import { timelineOf } from '../../src/core/watch/timeline.ts';
import type { Subscription, WatchKey, WatchState } from '../../src/core/watch/watch.ts';
import { KnownWatches } from '../../src/daemon/known-watches.ts';
import { declaredTraits } from '../../src/declared/traits.ts';
import { RunObserver } from '../../src/source/observer.ts';
import { skipOutstanding } from '../../src/deliver/skip-outstanding.ts';
import { endWatch } from '../../src/watches/end.ts';
import { purgeWatch } from '../../src/watches/purge.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { newMark, POLICY, snapshot } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, watches, events, deliveries, history, requests, runFigures } = stores;
afterAll(() => stores.close());

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const audit: Subscription = { kind: 'endpoint', endpoint: 'audit' };
const config = configSchema.parse({ data_dir: '/nowhere' });
const process = testProcess({
  config,
  stores,
  endpoints: { wants: () => true },
  statistics: { lookup: nothingLearned, learn: () => undefined },
});
const traits = declaredTraits('ci', {
  id: '{run}',
  run: { attempt: '$.attempt' },
  states: {},
});

let sources = 0;
let tokens = 0;
let subscribers = 0;

type End = 'completed' | 'failed' | 'stopped';

/** What a source shows of a run. */
interface Shown {
  attempt: number;
  status: 'queued' | 'running' | End;
}

const hasEnded = ({ status }: Shown) => status !== 'queued' && status !== 'running';

/** The daemon's part of one run, of a source of its own. */
class Rig {
  readonly key: WatchKey;
  readonly workflowId: string;
  private readonly known = new KnownWatches(watches);
  private readonly beganAt = Date.now();

  constructor() {
    sources += 1;
    this.key = { source: `ci-${sources}`, runId: `run-${sources}` };
    this.workflowId = `workflow-${sources}`;
  }

  async register(subscriptions: Subscription[] = []) {
    const poller = { process, sourceOf: () => testSource({ process, traits }) };
    const [result] = await registerWatches(poller, [{ ...this.key, subscriptions }]);
    if (result === undefined || !('watch' in result)) throw new Error('it was not registered');
    this.known.registered(result.watch);
    return result;
  }

  /** Polls the run, if it is to be polled. @param dies whether its process dies before it has written anything */
  async poll(shown: Shown, dies = false): Promise<void> {
    const { source, runId } = this.key;
    await requests.expedite(source, [runId]);
    const id = `process-${(tokens += 1)}`;
    const limit = { requests: 100_000, perMs: 1_000 };
    const about = { token: `${id}.1`, most: 1, limit, leaseMs: 60_000, roundMs: 0 };
    const [request] = (await requests.claim(source, about)).claimed;
    if (request === undefined) return;
    if (dies) {
      for await (const held of requests.heldBy(source, id)) {
        await requests.release(source, held, 'as before');
      }
      return;
    }
    const reader = { readRun: async () => this.resultOf(shown) };
    const polled = ({ watch }: { watch: Parameters<KnownWatches['polled']>[0] }) =>
      this.known.polled(watch);
    const of = { process, name: source, policy: POLICY, traits, reader, polled };
    const claim = { ...request, stored: request.stored!, lagMs: 0, permitMs: null };
    await new RunObserver(testSource(of)).observe(claim);
  }

  async cancel(): Promise<void> {
    await endWatch(process, this.key);
    this.known.forget(this.key);
  }

  async purge(): Promise<void> {
    await purgeWatch(process, this.key, {
      skipOutstanding: (key) => skipOutstanding(process, key),
      leaveAlerts: async () => undefined,
    });
    this.known.forget(this.key);
  }

  /** Redis is emptied; what a process remembers is registered again. */
  async loseData(): Promise<void> {
    await redis.del(...(await stores.keysLeft()), 'none');
    const now = Date.now();
    const defaults = { timeoutMs: 3_600_000, minIntervalMs: 1_000, profile: 'normal' as const };
    for (const known of await this.known.missing()) {
      const { watch } = register(null, { ...this.key, subscriptions: [] }, { now, defaults });
      const schedule = { does: 'enter' as const, withinMs: 0, kind: 'first' as const };
      const change = { before: null, after: { ...watch, ...known }, events: [], deliveries: [] };
      await watches.commit({ ...change, schedule });
    }
  }

  async watch() {
    return (await watches.get(this.key))?.watch;
  }

  async events() {
    const { items } = await events.list({ runs: [this.key] }, { limit: 200 });
    return items.map(({ event }) => event).filter(isOfRun);
  }

  /** What each subscriber is to be sent, in order. */
  async told(): Promise<Map<string, string[]>> {
    const names = new Map(
      (await this.events()).map(({ id, type, data }) => [id, `${type} ${data.run?.attempt}`]),
    );
    const { items } = await deliveries.list({ runs: [this.key] }, { limit: 1_000 });
    const told = new Map<string, string[]>();
    for (const { endpoint, eventId } of items.toReversed()) {
      told.set(endpoint, [...(told.get(endpoint) ?? []), names.get(eventId) ?? eventId]);
    }
    return told;
  }

  private resultOf({ attempt, status }: Shown): PollResult {
    const startedAt = this.beganAt + attempt * 10;
    const run = snapshot({
      id: this.key.runId,
      workflow_id: this.workflowId,
      status,
      progress: null,
      attempt,
      created_at: isoTime(this.beganAt),
      started_at: isoTime(startedAt),
      finished_at: hasEnded({ attempt, status }) ? isoTime(startedAt + 5) : null,
    });
    return { kind: 'run', run: { ...run, observed_at: isoTime(Date.now()) } };
  }
}

type Action =
  | { do: 'go on' | 'run again' | 'poll' | 'die' | 'register' | 'subscribe' | 'pack' | 'unpack' }
  | { do: 'cancel' | 'purge' | 'lose data' }
  | { do: 'end'; as: End }
  /** A poll that a replica answers, which is so many states behind. */
  | { do: 'lag'; by: number };

const simple = (...names: Exclude<Action['do'], 'end' | 'lag'>[]) =>
  fc.constantFrom(...names).map((name): Action => ({ do: name }));

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: simple('poll', 'register', 'subscribe') },
  { weight: 5, arbitrary: simple('run again', 'go on') },
  {
    weight: 4,
    arbitrary: fc.constantFrom<End>('completed', 'failed', 'stopped').map((as): Action => {
      return { do: 'end', as };
    }),
  },
  { weight: 3, arbitrary: fc.nat({ max: 6 }).map((by): Action => ({ do: 'lag', by })) },
  { weight: 2, arbitrary: simple('die', 'pack', 'unpack') },
  { weight: 1, arbitrary: simple('cancel', 'purge', 'lose data') },
);

/** What is expected of the daemon, without any of its code. */
class Reference {
  state: WatchState | null = null;
  events: string[] = [];
  /** How often the run has ended by each status, since the figures were lost. */
  readonly ended: Record<string, number> = {};
  isReopened = false;
  /** What each subscriber has been notified of. */
  readonly told = new Map<string, string[]>();
  /** Subscribers that came while nothing showed whether another attempt runs. */
  private held: string[] = [];
  /** The last end, which a subscriber hears of that comes after it. */
  private end: string | null = null;
  private seen: Shown | null = null;
  private attempt: number | null = null;

  /** @param subscriber one that is new; null for none */
  register(subscriber: string | null = null): void {
    if (this.state === 'finished') this.isReopened = true;
    if (this.state === 'cancelled') {
      this.seen = null;
      this.told.clear();
    }
    this.state = 'active';
    if (subscriber === null) return;
    this.told.set(subscriber, []);
    if (this.isReopened) this.held.push(subscriber);
  }

  private raise(event: string): void {
    this.events.push(event);
    for (const own of this.told.values()) own.push(event);
  }

  poll(shown: Shown): void {
    if (this.state !== 'active') return;
    const { attempt } = this;
    if (attempt !== null && shown.attempt < attempt) return;
    const isLater = attempt !== null && shown.attempt > attempt;
    if (isLater) this.held = [];
    if (isLater) this.raise(`run.restarted ${shown.attempt}`);
    if (this.isReopened && !isLater) {
      if (hasEnded(shown)) this.goBack();
      return;
    }
    if (!isLater && this.seen?.status === 'queued' && shown.status === 'running') {
      this.raise(`run.started ${shown.attempt}`);
    }
    Object.assign(this, { seen: shown, attempt: shown.attempt, isReopened: false });
    if (!hasEnded(shown)) return;
    this.end = `run.${shown.status} ${shown.attempt}`;
    this.raise(this.end);
    this.ended[shown.status] = (this.ended[shown.status] ?? 0) + 1;
    this.state = 'finished';
  }

  /** Whether an answer says something that is older than what is known of the same attempt: that is doubted, and judged elsewhere. */
  doubts(shown: Shown): boolean {
    const { seen, isReopened } = this;
    if (isReopened || seen === null || shown.attempt !== seen.attempt) return false;
    return shown.status === 'queued' && seen.status === 'running';
  }

  cancel(): void {
    if (this.state !== 'active') return;
    if (this.isReopened) this.goBack();
    else this.state = 'cancelled';
  }

  forget(): void {
    Object.assign(this, { state: null, events: [], isReopened: false, seen: null, attempt: null });
    Object.assign(this, { held: [], end: null });
    this.told.clear();
  }

  loseData(): void {
    // What was known of an end is lost with it, and of what was sent.
    Object.assign(this, { held: [], end: null });
    this.told.clear();
    if (this.state === 'active') Object.assign(this, { events: [], seen: null });
    else this.forget();
    for (const status of Object.keys(this.ended)) delete this.ended[status];
  }

  private goBack(): void {
    for (const one of this.held) if (this.end !== null) this.told.get(one)?.push(this.end);
    this.held = [];
    Object.assign(this, { state: 'finished', isReopened: false });
  }
}

/** The source's own account of the run, and what the daemon makes of it. */
async function play(actions: readonly Action[]): Promise<void> {
  const rig = new Rig();
  const reference = new Reference();
  const shown: Shown[] = [{ attempt: 1, status: 'queued' }];
  const now = () => shown.at(-1) as Shown;
  const ids = new Map<string, string>();
  for (const one of actions) {
    switch (one.do) {
      case 'go on':
        if (now().status === 'queued') shown.push({ ...now(), status: 'running' });
        break;
      case 'end':
        if (!hasEnded(now())) shown.push({ ...now(), status: one.as });
        break;
      case 'run again':
        if (hasEnded(now())) shown.push({ attempt: now().attempt + 1, status: 'queued' });
        break;
      case 'poll':
        await rig.poll(now());
        reference.poll(now());
        break;
      case 'lag': {
        const earlier = shown.at(-1 - one.by) ?? now();
        if (reference.doubts(earlier)) break;
        await rig.poll(earlier);
        reference.poll(earlier);
        break;
      }
      case 'die':
        await rig.poll(now(), true);
        break;
      case 'register':
        await rig.register();
        reference.register();
        break;
      case 'subscribe': {
        subscribers += 1;
        const endpoint = `subscriber-${subscribers}`;
        await rig.register([{ kind: 'endpoint', endpoint }]);
        reference.register(endpoint);
        break;
      }
      case 'pack':
        await history.pack(rig.key, { isForced: true });
        break;
      case 'unpack':
        // As a registration does that is killed before it writes.
        await history.unpack(rig.key);
        break;
      case 'cancel':
        await rig.cancel();
        reference.cancel();
        break;
      case 'purge':
        await rig.purge();
        reference.forget();
        break;
      case 'lose data':
        await rig.loseData();
        reference.loseData();
        break;
    }
    await compare(rig, reference, ids);
  }
}

async function compare(rig: Rig, reference: Reference, ids: Map<string, string>): Promise<void> {
  const watch = await rig.watch();
  const found = await rig.events();
  expect(found.map(({ type, data }) => `${type} ${data.run?.attempt}`)).toEqual(reference.events);
  expect(watch?.state ?? null).toBe(reference.state);
  const told = await rig.told();
  for (const [subscriber, names] of reference.told) {
    expect([subscriber, told.get(subscriber) ?? []]).toEqual([subscriber, names]);
  }
  expect(watch?.isReopened ?? false).toBe(reference.isReopened);
  expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
  for (const { id, type, data } of found) {
    if (!/^run\.(completed|failed|stopped)$/.test(type)) continue;
    const attempt = data.run?.attempt ?? null;
    const identity = { ...rig.key, type, registeredAt: 0, pastEnds: [] };
    const own = attempt === 1 ? null : attempt;
    expect(id).toBe(watchEventId({ ...identity, attempt: own }, newMark));
    const name = `${type} ${attempt}`;
    expect(ids.get(name) ?? id).toBe(id);
    ids.set(name, id);
  }
  const past = await stores.timelines.read(rig.key);
  if (past !== null) {
    const { states } = timelineOf(past);
    const times = states.map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(found.map(({ data }) => data.sequence)).toEqual(
      found.map(({ data }) => data.sequence).toSorted((a, b) => a - b),
    );
  }
  const { workflows } = await runFigures.since(Date.now() - 3_600_000, Date.now());
  const { ended = {} } = workflows.find(({ source }) => source === rig.key.source)?.figures ?? {};
  const { cancelled: _, ...byEnd } = ended;
  expect(byEnd).toEqual(reference.ended);
}

describe('a run with several attempts', () => {
  test('has each event once for each attempt, whatever comes between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 8, maxLength: 40 }), (actions) =>
        play([{ do: 'register' }, ...actions]),
      ),
      { numRuns: 60 },
    );
  });

  test('is notified of again by a registration after its end, and its timeline keeps the first attempt', async () => {
    const rig = new Rig();
    await rig.register([ops]);
    await rig.poll({ attempt: 1, status: 'running' });
    await rig.poll({ attempt: 1, status: 'failed' });
    const first = await rig.watch();
    const again = await rig.register([ops]);
    expect(again).toMatchObject({ kind: 'reopened', watch: { state: 'active', endedAt: null } });
    await rig.poll({ attempt: 2, status: 'running' });
    await rig.poll({ attempt: 2, status: 'completed' });
    const found = await rig.events();
    expect(found.map(({ type, data }) => [type, data.run?.attempt, data.previous?.status])).toEqual(
      [
        ['run.failed', 1, 'running'],
        ['run.restarted', 2, 'failed'],
        ['run.completed', 2, 'running'],
      ],
    );
    expect(found.map(({ id }) => id.split('_')[1])).toEqual([
      'failed',
      expect.stringMatching(/^\w{16}$/),
      'completed2',
    ]);
    const { items } = await deliveries.list({ runs: [rig.key] }, { limit: 10 });
    expect(items.map(({ eventType }) => eventType).toSorted()).toEqual(
      found.map(({ type }) => type).toSorted(),
    );
    expect(await rig.watch()).toMatchObject({
      state: 'finished',
      registeredAt: first?.registeredAt,
      attempt: 2,
      run: { attempt: 2, status: 'completed' },
    });
    const past = (await stores.timelines.read(rig.key))!;
    expect(timelineOf(past).states.map(({ status }) => status)).toEqual([
      'queued',
      'running',
      'failed',
      'running',
      'completed',
    ]);
  });

  test('a subscriber that comes while a later attempt runs hears of that one, and not of the end before it', async () => {
    const rig = new Rig();
    await rig.register([ops]);
    await rig.poll({ attempt: 1, status: 'failed' });
    await rig.register([audit]);
    expect((await rig.told()).get('audit')).toBeUndefined();
    await rig.poll({ attempt: 2, status: 'running' });
    await rig.poll({ attempt: 2, status: 'completed' });
    expect((await rig.told()).get('audit')).toEqual(['run.restarted 2', 'run.completed 2']);
  });

  test('a subscriber that comes after an end hears of it where the watch is ended before a poll', async () => {
    const rig = new Rig();
    await rig.register([ops]);
    await rig.poll({ attempt: 1, status: 'failed' });
    await rig.register([audit]);
    await rig.cancel();
    expect((await rig.told()).get('audit')).toEqual(['run.failed 1']);
  });

  test('a subscriber that comes with the registration after an end hears of that end, and of the next', async () => {
    const rig = new Rig();
    await rig.register([ops]);
    await rig.poll({ attempt: 1, status: 'failed' });
    await rig.register([audit]);
    await rig.poll({ attempt: 1, status: 'failed' });
    const told = async () => {
      const { items } = await deliveries.list({ runs: [rig.key] }, { limit: 20 });
      const toAudit = items.filter(({ endpoint }) => endpoint === 'audit');
      return toAudit.map(({ eventType }) => eventType).toReversed();
    };
    expect(await told()).toEqual(['run.failed']);
    await rig.register([audit]);
    await rig.poll({ attempt: 2, status: 'stopped' });
    expect(await told()).toEqual(['run.failed', 'run.restarted', 'run.stopped']);
  });
});
