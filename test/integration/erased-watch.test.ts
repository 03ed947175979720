import { configSchema } from '../../src/config/schema.ts';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import { isOfRun } from '../../src/core/event/event.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import { subscriptionKey, type WatchKey } from '../../src/core/watch/watch.ts';
import { skipOutstanding } from '../../src/deliver/skip-outstanding.ts';
import { RunObserver, type ClaimedPoll, type Polled } from '../../src/source/observer.ts';
import { endWatch } from '../../src/watches/end.ts';
import { purgeWatch } from '../../src/watches/purge.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { POLICY, snapshot } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { limitedTo } from '../support/endpoints.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { watches, events, deliveries, requests } = stores;
afterAll(() => stores.close());

const limits = { most: 4, rate: null, deadlineMs: 15_000 };

const config = configSchema.parse({ data_dir: '/nowhere', watches: { timeout: '1h' } });
const process = testProcess({
  config,
  stores,
  endpoints: { wants: () => true },
  statistics: { lookup: nothingLearned, learn: () => undefined },
});
const poller = { process, sourceOf: () => undefined };
const purging = testProcess({ stores, endpoints: limitedTo(() => limits) });
const purgeSteps = {
  leaveAlerts: async () => undefined,
  skipOutstanding: (key: WatchKey) => skipOutstanding(purging, key),
};

let runs = 0;
let tokens = 0;

/** A run, its requests under way, and what users have registered since the last purge. */
class Life {
  /** A source of its own, so that nothing else is due. */
  readonly key: WatchKey = { source: `source-${(runs += 1)}`, runId: `erased-${runs}` };
  private status = 'running';
  private readonly underWay: { answer(): void; polled: Promise<Polled> }[] = [];
  private purges = 0;
  private registrations = 0;
  /** Endpoints since the last purge, and those of them since the last cancellation. */
  private endpoints = new Set<string>();
  private wanted = new Set<string>();

  async register(): Promise<void> {
    const endpoint = `of-${this.purges}-${(this.registrations += 1) % 2}`;
    const metadata = { life: String(this.purges) };
    const subscriptions = [{ kind: 'endpoint' as const, endpoint }];
    await registerWatches(poller, [{ ...this.key, subscriptions, metadata }]);
    this.endpoints.add(endpoint);
    this.wanted.add(endpoint);
  }

  async purge(): Promise<void> {
    await purgeWatch(process, this.key, purgeSteps);
    this.purges += 1;
    this.endpoints = new Set();
    this.wanted = new Set();
  }

  async cancel(): Promise<void> {
    await endWatch(process, this.key);
    this.wanted = new Set();
  }

  /** Claims a request, if one is due, which is answered later. */
  async request(): Promise<void> {
    await requests.expedite(this.key.source, [this.key.runId]);
    const { claimed } = await requests.claim(this.key.source, {
      token: `process.${(tokens += 1)}`,
      most: 1,
      limit: { requests: 1_000, perMs: 1_000 },
      leaseMs: 60_000,
      roundMs: 0,
    });
    const [request] = claimed;
    if (request === undefined) return;
    expect(this.underWay).toEqual([]);
    const { stored, token, member } = request;
    const { status, key } = this;
    let answer: () => void = () => undefined;
    const result = new Promise<PollResult>((resolve) => {
      answer = () => resolve({ kind: 'run', run: snapshot({ id: key.runId, status }) });
    });
    const polled = observeRun(result)({ stored: stored!, token, lagMs: 0, permitMs: null });
    const released = polled.then(async (one) => {
      if (one.is === 'unwatched') await requests.release(key.source, [{ member, token }], 'never');
      return one;
    });
    this.underWay.push({ answer, polled: released });
  }

  async answer(): Promise<void> {
    const one = this.underWay.shift();
    one?.answer();
    await one?.polled;
  }

  ends(): void {
    this.status = 'completed';
  }

  /** All that can be read is of registrations since the last purge. */
  async expectErased(): Promise<void> {
    const stored = await watches.get(this.key);
    expect(stored === null).toBe(this.endpoints.size === 0);
    const known = stored?.watch.subscriptions.map(subscriptionKey) ?? [];
    for (const one of known) expect(this.endpoints).toContain(one);
    for (const one of this.wanted) expect(known).toContain(one);
    const life = String(this.purges);
    if (stored !== null) expect(stored.watch.metadata).toEqual({ life });
    const found = await events.list({ runs: [this.key] }, { limit: 100 });
    for (const { event } of found.items) {
      expect(isOfRun(event) && event.data.watch.metadata).toEqual({ life });
    }
    const planned = await deliveries.list({ runs: [this.key] }, { limit: 100 });
    for (const { endpoint } of planned.items) expect(this.endpoints).toContain(endpoint);
  }

  /** Every endpoint that is registered gets one event of the run's end. */
  async expectNotified(): Promise<void> {
    this.ends();
    for (let turn = 0; turn < 4; turn += 1) {
      await this.answer();
      await this.request();
    }
    await this.expectErased();
    const planned = await deliveries.list({ runs: [this.key] }, { limit: 100 });
    const told = planned.items.filter(({ eventType }) => eventType === 'run.completed');
    for (const one of this.wanted) {
      expect(told.filter(({ endpoint }) => endpoint === one)).toHaveLength(1);
    }
  }
}

function observeRun(result: Promise<PollResult>) {
  const source = testSource({ process, policy: POLICY, reader: { readRun: () => result } });
  const observer = new RunObserver(source);
  return (claim: ClaimedPoll) => observer.observe(claim);
}

describe('a watch that is purged while its run is read', () => {
  test('a watch that is registered again after a purge is notified by the request under way', async () => {
    const life = new Life();
    await life.register();
    await life.request();
    await life.purge();
    await life.register();
    life.ends();
    // No second request while the first is under way.
    await life.request();
    await life.answer();
    await life.expectErased();
    await life.expectNotified();
  });

  test('nothing erased comes back, and each new registration is notified, in any order of steps', async () => {
    const step = fc.constantFrom(
      'register' as const,
      'register' as const,
      'purge' as const,
      'cancel' as const,
      'request' as const,
      'request' as const,
      'answer' as const,
      'ends' as const,
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        const life = new Life();
        for (const one of steps) {
          await life[one]();
          await life.expectErased();
        }
        await life.expectNotified();
      }),
      { numRuns: 40 },
    );
  });
});
