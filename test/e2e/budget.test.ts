import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const LIMIT = { requests: 20, perMs: 1_000 };

/** Far more than the budget is for: each wants to be polled ten times a second. */
const NORMAL = 80;
const URGENT = 2;

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
      polling: { min_interval: '50ms', max_interval: '100ms', unreachable_after: '1s' },
    },
  });
}

/** Adds runs that go on and on, and registers them with one of the daemons. */
async function watchRuns(count: number, profile: string, daemon: DaemonProcess) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: count }, () => noxus.add({ steps }).id);
  const watches = ids.map((run_id) => ({ run_id, profile }));
  const { status } = await daemon.api('/v1/watches/batch', { watches });
  expect(status).toBe(200);
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
  normal = await watchRuns(NORMAL, 'normal', first);
  urgent = await watchRuns(URGENT, 'urgent', third);
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

  test('leave some of it to the discovery of runs', () => {
    expect(noxus.requests.lists).toBeGreaterThan(2);
  });

  test('poll the urgent more often than the others, and leave out nobody', () => {
    expect(Math.min(...readsOf(normal))).toBeGreaterThan(0);
    expect(Math.min(...readsOf(urgent))).toBeGreaterThan(Math.max(...readsOf(normal)));
  });
});
