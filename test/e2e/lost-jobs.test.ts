import { afterEach, describe, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import {
  spawnDaemonProcess,
  startDaemonProcess,
  stopAll,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;
let stores: ReturnType<typeof openStores>;

afterEach(async () => {
  await stores.close();
  await stopAll([daemon]);
  await receiver.close();
  await noxus.close();
});

describe('loss of every key of every queue', () => {
  test('after every queue key is deleted, all runs are polled and all events delivered', async () => {
    const target = testRedis();
    stores = openStores(target);
    let isOpen = false;
    noxus = await startSimulator();
    receiver = await startReceiver({
      secrets: [SECRET],
      respond: ({ verified }) => (isOpen && verified ? 204 : 503),
    });
    const options = {
      env: { REDIS_URL: target.url },
      config: {
        redis: { prefix: target.prefix },
        sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
        polling: { min_interval: '50ms', max_interval: '200ms' },
        endpoints: {
          hooks: {
            type: 'webhook',
            url: receiver.url,
            secret: SECRET,
            // What the killed process was attempting is due again this long after, and five seconds.
            timeout: '1s',
            retry: Array.from({ length: 50 }, () => '200ms'),
          },
        },
        egress: { allow: ['127.0.0.1/32'] },
      },
    };
    daemon = await startDaemonProcess(options);
    const ended = Array.from({ length: 5 }, () =>
      noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] }),
    );
    const active = Array.from({ length: 5 }, () =>
      noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }),
    );
    const watches = [...ended, ...active].map(({ id }) => ({ run_id: id }));
    await daemon.api('/v1/watches/batch', { watches });
    await waitFor(async () => (await stores.deliveries.counts()).planned === ended.length);

    await daemon.stop('SIGKILL');
    const deleteQueues = async () => {
      const found = (await stores.keysLeft()).filter((key) => /^\{[^}]+\}:poll-/.test(key));
      return stores.redis.del(found);
    };
    expect(await deleteQueues()).toBeGreaterThan(0);
    isOpen = true;
    daemon = await spawnDaemonProcess({ ...options, dataDir: daemon.dataDir });
    await daemon.ready();
    expect(await deleteQueues()).toBeGreaterThan(0);
    for (const { id } of active) noxus.setStatus(id, 'completed');

    await waitFor(async () => (await stores.watches.counts()).finished === watches.length);
    await waitFor(async () => {
      const { planned, byState } = await stores.deliveries.counts();
      return planned === watches.length && byState.delivered === planned;
    });
  });
});
