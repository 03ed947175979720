import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { processList } from '../../src/http/schemas/system.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const FIVE_MINUTES = 300_000;

let noxus: Simulator;
let receiver: Receiver;
let dataDir: string;
let daemons: { stop: () => Promise<unknown> }[];
const opened: { close: () => Promise<void> }[] = [];

beforeEach(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [SECRET] });
  dataDir = await mkdtemp(join(tmpdir(), 'runwatch-skew-'));
  daemons = [];
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((stores) => stores.close()));
  for (const daemon of daemons) await daemon.stop();
  await receiver.close();
  await noxus.close();
  await rm(dataDir, { recursive: true });
});

/** A daemon on a host with a clock that is ahead by `aheadMs`. */
async function startOn(
  { url, prefix, rules = [] }: { url: string; prefix: string; rules?: object[] },
  aheadMs: () => number,
) {
  const monotonic = () => performance.now();
  const wall = () => Date.now() + aheadMs();
  const daemon = await startInside(
    {
      data_dir: dataDir,
      redis: { url, prefix },
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      polling: { min_interval: '50ms', max_interval: '200ms', lists: 'off' },
      watches: { timeout: '2m' },
      rules,
      endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET, default: true } },
    },
    { clocks: { wall, monotonic, uptime: monotonic } },
  );
  daemons.push(daemon);
  return daemon;
}

interface AlertBody {
  type: string;
  timestamp: string;
  data: { repeat: boolean; alert: { count: number } };
}

async function get(url: string, path: string): Promise<unknown> {
  return (await fetch(`${url}${path}`)).json();
}

async function post(url: string, path: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** By how much a daemon says in its metrics that its clock is ahead, whole seconds. */
async function skewInMetrics({ url }: { url: string }): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Math.round(Number(/^runwatch_clock_skew_seconds (\S+)$/m.exec(text)?.[1]));
}

test('daemons with clocks ten minutes apart send each event once, and expire nothing early', async () => {
  const target = testRedis();
  const stores = openStores(target);
  opened.push(stores);
  let stepMs = 0;
  const ahead = await startOn(target, () => FIVE_MINUTES - stepMs);
  const behind = await startOn(target, () => -FIVE_MINUTES);
  const ids = Array.from(
    { length: 30 },
    () => noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id,
  );
  const watches = ids.map((run_id) => ({ run_id }));
  // By the clock of this one, their time is over for the other.
  await fetch(`${behind.url}/v1/watches/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ watches }),
  });
  const polls = async () => {
    const { items } = await stores.watches.list({}, { limit: 200 });
    return Math.min(...items.map((watch) => watch.polls));
  };
  await waitFor(async () => (await polls()) > 2);

  // Twice the time-out of a watch, back and forth.
  for (const step of [2 * FIVE_MINUTES, 0]) {
    stepMs = step;
    const seen = await polls();
    await waitFor(async () => (await polls()) > seen + 2);
  }
  for (const id of ids) noxus.setStatus(id, 'failed');
  await waitFor(async () => (await stores.watches.counts()).finished === ids.length);
  await waitFor(async () => {
    const { planned, byState } = await stores.deliveries.counts();
    return planned === ids.length && byState.delivered === planned;
  });

  const sent = receiver.received.map(({ body }) => (JSON.parse(body) as { type: string }).type);
  expect(sent).toEqual(ids.map(() => 'run.failed'));
  expect([ahead, behind].map(({ said }) => said('clock.skewed'))).toEqual([true, true]);
  expect(await Promise.all([ahead, behind].map(skewInMetrics))).toEqual([300, -300]);
  // Each process writes its own with its heartbeat, the one from before the last step too.
  await waitFor(async () => {
    const { data } = processList.strict().parse(await get(ahead.url, '/v1/processes'));
    expect(data.map(({ clock_skew_ms: ms }) => Math.round(ms / 1_000))).toEqual([300, -300]);
    return true;
  });
});

test('500 failures under daemons with clocks ten minutes apart are one alert, in time and counted right', async () => {
  const times = { group_wait: '200ms', group_interval: '500ms', repeat_interval: '1s' };
  const rules = [{ name: 'failed-runs', events: ['run.failed'], notify: ['hooks'], ...times }];
  const target = { ...testRedis(), rules };
  const ahead = await startOn(target, () => FIVE_MINUTES);
  const behind = await startOn(target, () => -FIVE_MINUTES);
  const startedAt = Date.now();
  const watchEnds = async (url: string, status: string, count: number) => {
    const watches = Array.from({ length: count }, () => {
      const { id } = noxus.add({ steps: [{ after_ms: 0, status }] });
      return { run_id: id, endpoints: [] };
    });
    await post(url, '/v1/watches/batch', { watches });
  };
  const told = () =>
    receiver.received
      .map(({ body }) => JSON.parse(body) as AlertBody)
      .filter(({ type }) => type.startsWith('alert.'));
  const repeats = () => told().filter(({ data }) => data.repeat).length;

  await watchEnds(ahead.url, 'failed', 250);
  await watchEnds(behind.url, 'failed', 250);
  await waitFor(() => told().at(-1)?.data.alert.count === 500);
  await waitFor(() => repeats() > 0);
  // Whichever judged, the other goes on.
  await ahead.stop();
  const seen = repeats();
  await waitFor(() => repeats() > seen);
  await watchEnds(behind.url, 'completed', 1);
  await waitFor(() => told().at(-1)?.type === 'alert.resolved');

  const types = told().map(({ type }) => type);
  expect(types.filter((type) => type === 'alert.firing')).toHaveLength(1);
  expect(types[0]).toBe('alert.firing');
  expect(told().at(-1)?.data.alert.count).toBe(500);
  const at = told().map(({ timestamp }) => Date.parse(timestamp));
  const gaps = at.slice(1, -1).map((time, index) => time - (at[index] ?? 0));
  // Two processes that are busy know the store's clock to within some time, far less than the skew.
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(250);
  expect(at[0]).toBeGreaterThan(startedAt - 30_000);
  expect(at.at(-1)).toBeLessThan(Date.now() + 30_000);
});
