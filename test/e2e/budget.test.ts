import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const LIMIT = { requests: 20, perMs: 1_000 };

/** Far more runs than the rate limit allows, since young runs are polled often. */
const NORMAL = { profile: 'normal', count: 80 };
const URGENT = { profile: 'urgent', count: 2 };

/** How many requests are counted: several times what the limit lets pass at once. */
const COUNTED = 160;

/** The pause that a source requests, s. */
const PAUSE_S = 2;

let noxus: Simulator;
let stormy: Simulator;
let calm: Simulator;
let stores: ReturnType<typeof openStores>;
/** Three daemons on one Redis, on one budget. */
let daemons: DaemonProcess[];

async function start({ url, prefix }: ReturnType<typeof testRedis>): Promise<DaemonProcess> {
  return startDaemonProcess({
    env: { REDIS_URL: url },
    config: {
      redis: { prefix },
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: LIMIT.requests, per: `${LIMIT.perMs}ms` },
          discover: { workflows: 'all', every: '250ms' },
        },
        stormy: { base_url: stormy.url, api_key: stormy.apiKey, rate_limit: { requests: 1_000 } },
        calm: { base_url: calm.url, api_key: calm.apiKey, rate_limit: { requests: 1_000 } },
      },
      polling: {
        min_interval: '50ms',
        max_interval: '100ms',
        lists: 'off',
        unreachable_after: '5m',
      },
    },
  });
}

interface Asked {
  profile: string;
  count: number;
}

/** Adds runs that go on and on, and registers them with one of the daemons. */
async function watchRuns(
  { count, ...asked }: Asked,
  daemon: DaemonProcess,
  [source, simulator]: [string, Simulator] = ['default', noxus],
) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: count }, () => simulator.add({ steps }).id);
  const watches = ids.map((run_id) => ({ run_id, source, ...asked }));
  const { body } = await daemon.api('/v1/watches/batch', { watches });
  // Discovery may have been first.
  for (const { status } of body.results) expect([200, 201]).toContain(status);
  return ids;
}

/** A source that answers everything with 503 and a pause, beside one that is well. */
async function playStorm() {
  const runs = { profile: 'urgent', count: 8 };
  const [first, second] = daemons as [DaemonProcess, DaemonProcess];
  await watchRuns(runs, first, ['stormy', stormy]);
  await watchRuns(runs, second, ['calm', calm]);
  await waitFor(() => stormy.requests.total > 100);
  stormy.fault({ kind: 'status', status: 503, retry_after: PAUSE_S });
  const line = await waitFor(() => pauses()[0]);
  const from = Date.parse(line.time);
  // The line is written a moment after the pause was reckoned.
  const until = from + Number(line['pause_ms']) - 20;
  // What was under way when the first was refused may still arrive.
  await waitFor(async () => (await stores.redis.hlen(stores.keys.requestClaims('stormy'))) === 0);
  const quietAt = Date.now();
  await waitFor(() => Date.now() > until);
  const paused = pauses().length;
  stormy.clearFaults();
  const before = stormy.requests.total;
  await waitFor(() => stormy.requests.total > before + 30);
  return { from, quietAt, until, paused };
}

const pauses = () =>
  daemons
    .flatMap((daemon) => daemon.log())
    .filter(({ msg, source }) => msg === 'source.paused' && source === 'stormy');

const readsOf = (ids: string[]) => ids.map((id) => noxus.requests.run(id).count);

/** How often the runs of both profiles were read. @returns null while an urgent one was read less often */
function isUrgentAhead() {
  const found = { normal: readsOf(normal), urgent: readsOf(urgent) };
  return Math.min(...found.urgent) > Math.max(...found.normal) ? found : null;
}

let normal: string[];
let urgent: string[];
let reads: { normal: number[]; urgent: number[] };
let storm: Awaited<ReturnType<typeof playStorm>>;
/** All requests to the source, and the time in which they came. */
let asked: { requests: number; ms: number };

beforeAll(async () => {
  [noxus, stormy, calm] = await Promise.all([startSimulator(), startSimulator(), startSimulator()]);
  const place = testRedis();
  stores = openStores(place);
  daemons = await Promise.all([start(place), start(place), start(place)]);
  const [startedAt, before] = [performance.now(), noxus.requests.total];
  const [first, , third] = daemons as [DaemonProcess, DaemonProcess, DaemonProcess];
  // Trouble makes for quick retries, and those are requests too.
  noxus.fault({ kind: 'status', status: 502, probability: 0.2, seed: 3 });
  normal = await watchRuns(NORMAL, first);
  urgent = await watchRuns(URGENT, third);
  await waitFor(() => noxus.requests.total >= COUNTED && Math.min(...readsOf(normal)) > 0);
  await waitFor(() => noxus.requests.lists > 2, { describe: 'discovery to read its list' });
  reads = await waitFor(isUrgentAhead, { describe: 'urgent watches to be polled more often' });
  asked = { requests: noxus.requests.total - before, ms: performance.now() - startedAt };
  storm = await playStorm();
});

afterAll(async () => {
  await stopAll(daemons);
  await stores.close();
  await Promise.all([noxus, stormy, calm].map((simulator) => simulator.close()));
});

describe('rate limit of a source shared by three busy daemons', () => {
  // How many arrive in one window depends on the machine too, so the bench counts that.
  test('three busy daemons keep to the rate limit over the whole time, quick retries included', () => {
    // What was sent before may arrive within the time, so one window more.
    const windows = Math.ceil(asked.ms / LIMIT.perMs) + 1;
    expect(asked.requests).toBeLessThanOrEqual(windows * LIMIT.requests);
  });

  test('three busy daemons report the lag of their polls, and no run as unreachable', async () => {
    // Which of them polls how much is left to chance.
    const lags: number[] = [];
    for (const { url, api } of daemons) {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      lags.push(Number(/^runwatch_poll_lag_seconds_sum (.*)$/m.exec(metrics)?.[1]));
      const { body } = await api('/v1/events?type=watch.unreachable');
      expect(body.data).toEqual([]);
    }
    expect(lags.reduce((sum, lag) => sum + lag, 0)).toBeGreaterThan(0);
  });

  test('discovery gets its share of a rate limit that polls use up', () => {
    expect(noxus.requests.lists).toBeGreaterThan(2);
  });

  test('a busy source polls urgent watches more often, and every watch', () => {
    expect(Math.min(...reads.normal)).toBeGreaterThan(0);
    expect(Math.min(...reads.urgent)).toBeGreaterThan(Math.max(...reads.normal));
  });
});

describe('pause that a source requests of three daemons', () => {
  test('a paused source gets only requests that were in flight, from all daemons', () => {
    const { from, quietAt, until } = storm;
    expect(until - from).toBeGreaterThan((PAUSE_S - 0.5) * 1_000);
    expect(stormy.requests.requestsBetween(quietAt, until)).toBe(0);
  });

  test('one of three daemons reports the pause of a source, once', () => {
    expect(storm.paused).toBe(1);
    expect(stormy.requests.statuses['503']).toBeGreaterThanOrEqual(1);
  });

  test('the pause of a source does not delay another source', () => {
    expect(calm.requests.requestsBetween(storm.from, storm.until)).toBeGreaterThan(0);
  });
});
