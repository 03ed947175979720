import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { readAll, waitUntilAllDelivered, type WatchJson } from '../support/daemon-listings.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const RUNS = 100;

let noxus: Simulator;
let receiver: Receiver;
let server: PrivateRedis;
let control: Redis;
let dataDir: string;
const daemons: DaemonProcess[] = [];

beforeAll(async () => {
  [noxus, receiver, server] = await Promise.all([
    startSimulator(),
    startReceiver({ secrets: [SECRET] }),
    startPrivateRedis(),
  ]);
  control = new Redis(server.url);
  dataDir = await tempDir();
});

afterAll(async () => {
  await stopAll(daemons);
  control.disconnect();
  await Promise.all([noxus.close(), receiver.close(), server.stop()]);
  await rm(dataDir, { recursive: true, force: true });
});

const configWith = (retention: string) => ({
  redis: { url: `unix://${server.url}` },
  sources: {
    default: {
      base_url: noxus.url,
      api_key: noxus.apiKey,
      rate_limit: { requests: 10_000, per: '1s' },
    },
  },
  polling: { min_interval: '50ms', max_interval: '200ms' },
  watches: { retention },
  delivery: { retention },
  endpoints: {
    hooks: { type: 'webhook', url: receiver.url, secret: SECRET, default: true },
  },
});

async function start(retention: string): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({ config: configWith(retention), dataDir });
  daemons.push(daemon);
  return daemon;
}

const readyStatus = async ({ url }: DaemonProcess) => (await fetch(`${url}/readyz`)).status;

async function usedBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await control.info('memory'))?.[1]);
}

const notified = (runId: string) =>
  receiver.received.filter(({ body }) => body.includes(runId)).length;

async function watchRuns(daemon: DaemonProcess, runIds: readonly string[]): Promise<void> {
  const metadata = { note: 'x'.repeat(4_000) };
  for (let at = 0; at < runIds.length; at += 50) {
    const some = runIds.slice(at, at + 50).map((run_id) => ({ run_id, metadata }));
    const { status } = await daemon.api('/v1/watches/batch', { watches: some });
    expect(status).toBe(200);
  }
  await waitFor(async () => {
    const watches = await readAll<WatchJson>(daemon, '/v1/watches');
    return watches.length === runIds.length && watches.every(({ run }) => run !== null);
  });
}

const addRun = () => noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;

test('a daemon that keeps less frees a Redis that is full, and goes on', async () => {
  const daemon = await start('30d');
  const usedBefore = await usedBytes();
  const runIds = Array.from({ length: RUNS }, addRun);
  const stillRunning = addRun();
  await watchRuns(daemon, [...runIds, stillRunning]);
  for (const runId of runIds) noxus.setStatus(runId, 'completed');
  await waitFor(() => runIds.every((runId) => notified(runId) > 0));
  await waitUntilAllDelivered(daemon);

  const usedAfter = await usedBytes();
  await control.config('SET', 'maxmemory', String(Math.round((usedBefore + usedAfter) / 2)));
  await waitFor(async () => (await readyStatus(daemon)) === 503);
  expect(await daemon.api('/v1/watches', { run_id: addRun() })).toMatchObject({ status: 503 });
  noxus.setStatus(stillRunning, 'completed');
  await daemon.stop();

  const next = await start('1s');
  await waitFor(async () => (await readyStatus(next)) === 200);
  await waitFor(() => notified(stillRunning) > 0);
  const another = addRun();
  expect((await next.api('/v1/watches', { run_id: another })).status).toBe(201);
  noxus.setStatus(another, 'completed');
  await waitFor(() => notified(another) > 0);
  await waitUntilAllDelivered(next);
  expect([...runIds, stillRunning, another].filter((runId) => notified(runId) !== 1)).toEqual([]);
  expect(next.stderr()).toBe('');
}, 240_000);

test('the own Redis takes writes again once its limit is raised by SIGHUP', async () => {
  const { redis: _elsewhere, ...config } = configWith('30d');
  const own = await tempDir();
  const daemon = await startDaemonProcess({
    config: { ...config, redis: { maxmemory: '64mb' } },
    dataDir: own,
  });
  daemons.push(daemon);
  const data = new Redis(join(own, 'redis.sock'));
  try {
    await data.setrange('of-no-one', 70 * 1_024 ** 2, 'x');
    await waitFor(async () => (await readyStatus(daemon)) === 503);
    expect(await daemon.api('/v1/watches', { run_id: addRun() })).toMatchObject({ status: 503 });

    await daemon.configure({ ...config, redis: { maxmemory: '512mb' } });
    daemon.signal('SIGHUP');
    await waitFor(async () => (await readyStatus(daemon)) === 200);
    const run = addRun();
    expect((await daemon.api('/v1/watches', { run_id: run })).status).toBe(201);
    noxus.setStatus(run, 'completed');
    await waitFor(() => notified(run) > 0);
  } finally {
    data.disconnect();
    await daemon.stop();
    await rm(own, { recursive: true, force: true });
  }
}, 240_000);
