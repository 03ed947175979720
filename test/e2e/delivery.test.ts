import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import {
  startReceiver,
  type ReceivedWebhook,
  type Receiver,
} from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { readAll, type DeliveryJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { sampleConservation } from '../support/conservation.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const PREFIX = 'e2e';
const PLACES = 4;
const RUNS = 60;

/** What a receiver answers to its so-manieth request. */
type Respond = (
  nth: number,
) => number | { status: number; headers?: Record<string, string>; delayMs?: number };

/** Each kind of trouble ends after a few requests: then the receiver is well again. */
const RECEIVERS: Record<string, { respond: Respond; runs: number }> = {
  well: { respond: () => 204, runs: RUNS },
  slow: { respond: () => ({ status: 204, delayMs: 400 }), runs: RUNS },
  fails: { respond: (nth) => (nth <= 6 ? 500 : 204), runs: 6 },
  hangs: { respond: (nth) => (nth <= 4 ? { status: 204, delayMs: 15_000 } : 204), runs: 12 },
  throttles: {
    respond: (nth) =>
      nth <= 4 ? { status: nth % 2 ? 429 : 503, headers: { 'retry-after': '1' } } : 204,
    runs: 12,
  },
  gone: { respond: () => 410, runs: 6 },
};
const NAMES = Object.keys(RECEIVERS);

let redis: PrivateRedis;
let noxus: Simulator;
let daemons: DaemonProcess[] = [];
const receivers = new Map<string, Receiver>();

beforeAll(async () => {
  redis = await startPrivateRedis({ tcp: true });
  noxus = await startSimulator();
  for (const [name, { respond }] of Object.entries(RECEIVERS)) {
    let nth = 0;
    const receiver = await startReceiver({
      secrets: [SECRET],
      respond: () => respond((nth += 1)),
    });
    receivers.set(name, receiver);
  }
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([...receivers.values()].map((receiver) => receiver.close()));
  await noxus.close();
  await redis.stop();
});

async function startDaemon(): Promise<DaemonProcess> {
  const endpoint = (name: string) => ({
    type: 'webhook',
    url: receivers.get(name)?.url,
    secret: SECRET,
    // The others may take as long as this machine lets them: none of their attempts is repeated.
    timeout: name === 'hangs' ? '3s' : '30s',
    retry: Array.from({ length: 12 }, () => '300ms'),
  });
  const daemon = await startDaemonProcess({
    env: { REDIS_URL: redis.url },
    config: {
      redis: { prefix: PREFIX },
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      polling: { min_interval: '100ms', max_interval: '500ms' },
      endpoints: Object.fromEntries(NAMES.map((name) => [name, endpoint(name)])),
      delivery: { per_endpoint: PLACES },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  daemons.push(daemon);
  return daemon;
}

/** Watches runs that have failed, each with some of the receivers in turn. */
async function watchRuns(daemon: DaemonProcess): Promise<number> {
  const watches = Array.from({ length: RUNS }, (_, at) => ({
    run_id: noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] }).id,
    endpoints: NAMES.filter((name) => at < (RECEIVERS[name]?.runs ?? 0)),
  }));
  const { status } = await daemon.api('/v1/watches/batch', { watches });
  expect(status).toBe(200);
  return watches.reduce((sum, { endpoints }) => sum + endpoints.length, 0);
}

const received = (name: string): readonly ReceivedWebhook[] => receivers.get(name)?.received ?? [];

/** How often an event came in again after it had been accepted. */
function duplicates(name: string): number {
  const ids = received(name).map(({ id }) => id);
  return ids.length - new Set(ids).size;
}

/** Waits until as many deliveries as were planned have come to an end, and returns them. */
async function waitUntilSettled(daemon: DaemonProcess, planned: number): Promise<DeliveryJson[]> {
  let left: DeliveryJson[] = [];
  return waitFor(
    async () => {
      const all = await readAll<DeliveryJson>(daemon, '/v1/deliveries');
      left = all.filter(({ state }) => state === 'pending' || state === 'parked');
      return all.length === planned && left.length === 0 && all;
    },
    { describe: () => `${left.length} deliveries: ${JSON.stringify(left[0])}` },
  );
}

function expectAllTold(deliveries: DeliveryJson[]): void {
  const wrong = deliveries.filter(({ endpoint, state }) =>
    endpoint === 'gone' ? state !== 'dead' && state !== 'skipped' : state !== 'delivered',
  );
  expect(wrong).toEqual([]);
  for (const name of NAMES) {
    expect(received(name).filter(({ verified }) => !verified)).toEqual([]);
  }
}

describe('two daemons with failing receivers', () => {
  test('a daemon killed with deliveries in flight loses no event', async () => {
    const [first, second] = [await startDaemon(), await startDaemon()];
    const conservation = sampleConservation(second, 50);
    const planned = await watchRuns(first);
    await waitFor(() => received('slow').length >= 12 && received('well').length >= 20);
    await first.stop('SIGKILL');
    const deliveries = await waitUntilSettled(second, planned);
    expectAllTold(deliveries);
    const balance = await conservation.stop();
    expect(balance).toMatchObject({ imbalances: [], planned });
    expect(balance.samples).toBeGreaterThan(10);
    // A healthy receiver gets at most the attempts in flight at the kill a second time.
    expect(duplicates('well') + duplicates('slow')).toBeLessThanOrEqual(2 * PLACES);
    expect(deliveries.filter(({ state }) => state === 'skipped').length).toBeGreaterThan(0);
  });

  test('deleting every key of the queue and restarting the daemons loses no event', async () => {
    await stopAll(daemons);
    daemons = [];
    const before = await startDaemon();
    const known = (await readAll<DeliveryJson>(before, '/v1/deliveries')).length;
    const seen = received('slow').length;
    const planned = known + (await watchRuns(before));
    await waitFor(() => received('slow').length >= seen + 8);
    await before.stop('SIGKILL');
    expect(await deleteQueues()).toBeGreaterThan(0);
    const after = await startDaemon();
    const conservation = sampleConservation(after, 50);
    expectAllTold(await waitUntilSettled(after, planned));
    const balance = await conservation.stop();
    expect(balance).toMatchObject({ imbalances: [], planned });
    expect(balance.samples).toBeGreaterThan(10);
    expect(duplicates('well') + duplicates('slow')).toBeLessThanOrEqual(2 * 2 * PLACES);
  });
});

/** Deletes every key of the queues of slots, and nothing else. @returns how many */
async function deleteQueues(): Promise<number> {
  const connection = new Redis(redis.url);
  const keys = await connection.keys(`{${PREFIX}}:*`);
  const ofQueues = keys.filter((key) => /^\{[^}]+\}:poll-[^:]+:/.test(key));
  const deleted = ofQueues.length === 0 ? 0 : await connection.del(...ofQueues);
  connection.disconnect();
  return deleted;
}
