import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { readAll, type WatchJson } from '../support/daemon-listings.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis-process.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

let noxus: Simulator;
let receiver: Receiver;
let server: PrivateRedis;
let redis: Redis;
let daemons: DaemonProcess[];

/** Two daemons on a Redis that saves only on command. */
beforeEach(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [SECRET] });
  server = await startPrivateRedis({ tcp: true });
  redis = new Redis(server.url);
  redis.on('error', () => undefined);
  const options = {
    env: { REDIS_URL: server.url },
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      polling: { min_interval: '50ms', max_interval: '200ms', lists: 'off' },
      endpoints: {
        hooks: {
          type: 'webhook',
          url: receiver.url,
          secret: SECRET,
          default: true,
          events: ['*', 'store.data_lost'],
        },
      },
    },
  };
  daemons = await Promise.all([startDaemonProcess(options), startDaemonProcess(options)]);
});

afterEach(async () => {
  redis.disconnect();
  await stopAll(daemons);
  await server.stop();
  await receiver.close();
  await noxus.close();
});

const first = () => daemons[0] as DaemonProcess;
const runs = (count: number) =>
  Array.from(
    { length: count },
    () => noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id,
  );
const bodies = () =>
  receiver.received.map(({ body }) => JSON.parse(body) as RunwatchEvent & { type: string });
const received = (type: string) => bodies().filter((body) => body.type === type);
const lossLines = () =>
  daemons.flatMap((daemon) => daemon.log().filter(({ msg }) => msg === 'store.data_lost'));
const active = async () => readAll<WatchJson>(first(), '/v1/watches?state=active');
const watched = (ids: string[]) =>
  first().api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });

test('an emptied Redis is reported once, and its active runs are watched again', async () => {
  const ids = runs(30);
  const [cancelled = ''] = runs(1);
  await watched([...ids, cancelled]);
  await waitFor(async () => (await active()).every(({ run }) => run !== null));
  await first().api(`/v1/watches/${cancelled}`, undefined, 'DELETE');

  await redis.flushall();
  await waitFor(() => received('store.data_lost').length > 0);
  await waitFor(async () => (await active()).length === ids.length);
  for (const id of ids) noxus.setStatus(id, 'completed');
  await waitFor(() => received('run.completed').length >= ids.length);

  expect(new Set(received('run.completed').map(({ data }) => data.run_id))).toEqual(new Set(ids));
  expect(lossLines()).toMatchObject([{ level: 'error', reason: 'emptied' }]);
  // The daemon that did not report the loss learns of it by its next comparison.
  const isSaid = async () => {
    const ready = await fetch(`${first().url}/readyz`);
    expect(ready.status).toBe(200);
    return (await ready.text()).includes('degraded store: data was lost');
  };
  await waitFor(isSaid);
});

test('a failover that loses writes gives each change its own id, and each end one event', async () => {
  const ids = runs(12);
  await watched(ids);
  await waitFor(async () => (await active()).every(({ run }) => run !== null));
  const waits = ids.slice(0, 6);
  for (const id of waits) noxus.setStatus(id, 'awaiting_human_feedback');
  await waitFor(() => received('run.awaiting_human_feedback').length === waits.length);
  await redis.call('SAVE');

  // The next changes are delivered, and then lost by the store.
  for (const id of ids) noxus.setStatus(id, 'running');
  await waitFor(async () => {
    const { body } = await first().api('/v1/watches?status=awaiting_human_feedback');
    return body.data.length === 0;
  });
  for (const id of waits) noxus.setStatus(id, 'awaiting_human_feedback');
  for (const id of ids.slice(6)) noxus.setStatus(id, 'failed');
  await waitFor(() => received('run.failed').length === 6);
  await waitFor(() => received('run.awaiting_human_feedback').length === 12);
  await server.restart();

  await waitFor(() => received('store.data_lost').length > 0);
  for (const id of waits) noxus.setStatus(id, 'stopped');
  await waitFor(() => received('run.stopped').length >= 6);
  await waitFor(async () => (await active()).length === 0);

  const changes = new Map<string, string>();
  for (const { id, type, data } of bodies()) {
    const change = `${type} ${data.run_id} ${data.detected_at}`;
    const isEnd = /^run\.(failed|stopped|completed)$/.test(type);
    const known = changes.get(id) ?? change;
    expect(isEnd ? type : known).toBe(isEnd ? type : change);
    changes.set(id, known);
  }
  for (const type of ['run.failed', 'run.stopped']) {
    expect(new Set(received(type).map(({ id }) => id)).size).toBe(6);
  }
  expect(lossLines()).toMatchObject([{ reason: 'rolled_back' }]);
});
