import { afterAll, beforeAll, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const RUNS = 5;

let noxus: Simulator;
let daemons: DaemonProcess[];

/** A daemon that would read a run again after fifty seconds only. */
function start({ url, prefix }: TestRedis): Promise<DaemonProcess> {
  return startDaemonProcess({
    env: { REDIS_URL: url },
    config: {
      redis: { prefix },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { batch: 'off', min_interval: '50s' },
    },
  });
}

beforeAll(async () => {
  noxus = await startSimulator();
  const redis = testRedis();
  daemons = await Promise.all([start(redis), start(redis)]);
}, 60_000);

afterAll(async () => {
  await stopAll(daemons);
  await noxus.close();
});

test('runs whose listening daemon is killed are read within seconds by another one', async () => {
  const [first, second] = daemons as [DaemonProcess, DaemonProcess];
  const ids = Array.from({ length: RUNS }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  await first.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  await waitFor(() => noxus.streams.open === RUNS);
  await first.stop('SIGKILL');
  for (const id of ids) noxus.setStatus(id, 'completed');
  await waitFor(async () => {
    const { body } = await second.api('/v1/watches?state=finished');
    return body.data.length === RUNS;
  });
}, 60_000);
