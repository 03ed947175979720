import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const LIMIT = { requests: 20, perMs: 1_000 };

/** Far more than the budget is for, as long as the runs are young and all want to be looked at often. */
const NORMAL = { profile: 'normal', count: 80 };
const URGENT = { profile: 'urgent', count: 2 };

/** How many requests are counted: several times what the limit lets pass at once. */
const COUNTED = 160;

let noxus: Simulator;
/** Three daemons on one Redis, on one budget. */
let daemons: DaemonProcess[];

async function start(prefix: string): Promise<DaemonProcess> {
  return startDaemonProcess({
    env: { REDIS_URL: testRedis().url },
    config: {
      redis: { prefix },
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: LIMIT.requests, per: `${LIMIT.perMs}ms` },
          discover: { workflows: 'all', every: '250ms' },
        },
      },
      polling: {
        min_interval: '50ms',
        max_interval: '100ms',
        batch: 'off',
        unreachable_after: '6s',
      },
    },
  });
}

/** Adds runs that go on and on, and registers them with one of the daemons. */
async function watchRuns({ count, ...asked }: typeof NORMAL, daemon: DaemonProcess) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: count }, () => noxus.add({ steps }).id);
  const watches = ids.map((run_id) => ({ run_id, ...asked }));
  const { body } = await daemon.api('/v1/watches/batch', { watches });
  for (const { status } of body.results) expect(status).toBe(201);
  return ids;
}

const readsOf = (ids: string[]) => ids.map((id) => noxus.requests.run(id).count);

let normal: string[];
let urgent: string[];

beforeAll(async () => {
  noxus = await startSimulator();
  const { prefix } = testRedis();
  daemons = await Promise.all([start(prefix), start(prefix), start(prefix)]);
  const [first, , third] = daemons as [DaemonProcess, DaemonProcess, DaemonProcess];
  // Trouble makes for quick retries, and those are requests too.
  noxus.fault({ kind: 'status', status: 502, probability: 0.2, seed: 3 });
  normal = await watchRuns(NORMAL, first);
  urgent = await watchRuns(URGENT, third);
  await waitFor(() => noxus.requests.total >= COUNTED && Math.min(...readsOf(normal)) > 0, {
    timeoutMs: 40_000,
  });
}, 60_000);

afterAll(async () => {
  await stopAll(daemons);
  await noxus.close();
});

describe('three daemons that want far more of a source than its rate limit', () => {
  test('never exceed it in any window of its length, quick retries included', () => {
    expect(noxus.requests.mostWithin(LIMIT.perMs)).toBeLessThanOrEqual(LIMIT.requests);
  });

  test('tell of the lag of their polls, and of no run that they could not reach in time', async () => {
    for (const { url, api } of daemons) {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(Number(/^runwatch_poll_lag_seconds_sum (.*)$/m.exec(metrics)?.[1])).toBeGreaterThan(0);
      const { body } = await api('/v1/events?type=watch.unreachable');
      expect(body.data).toEqual([]);
    }
  });

  test('leave some of it to the discovery of runs', () => {
    expect(noxus.requests.lists).toBeGreaterThan(2);
  });

  test('poll the urgent more often than the others, and leave out nobody', () => {
    expect(Math.min(...readsOf(normal))).toBeGreaterThan(0);
    expect(Math.min(...readsOf(urgent))).toBeGreaterThan(Math.max(...readsOf(normal)));
  });
});
