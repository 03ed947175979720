import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

let noxus: Simulator;
let redis: PrivateRedis;
const daemons: DaemonProcess[] = [];

beforeAll(async () => {
  noxus = await startSimulator();
  redis = await startPrivateRedis();
});
afterAll(async () => {
  await stopAll(daemons);
  await noxus.close();
  await redis.stop();
});

async function start(): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({
    config: {
      redis: { url: redis.url },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { min_interval: '50ms', max_interval: '200ms', hints: 'off' },
      endpoints: { audit: { type: 'log', default: true } },
    },
  });
  daemons.push(daemon);
  return daemon;
}

async function onlyDelivery({ api }: DaemonProcess) {
  const { body } = await api('/v1/deliveries');
  return body.data[0];
}

async function readiness({ url }: DaemonProcess) {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: await response.text() };
}

test('a daemon whose log reader ended makes no attempt at its log endpoints, while another daemon delivers', async () => {
  const broken = await start();
  broken.closeLog();
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
  await broken.api('/v1/watches', { run_id: id });
  const degraded = await waitFor(async () => {
    const found = await readiness(broken);
    return found.text.includes('log') && found;
  });
  expect(degraded).toEqual({ status: 200, text: expect.stringMatching(/^degraded log: .*EPIPE/m) });
  expect(broken.stderr()).toContain('the log cannot be written');
  const waiting = await waitFor(() => onlyDelivery(broken));
  expect(waiting).toMatchObject({ state: 'pending', attempt_count: 0 });
  const attention = await broken.api('/v1/attention');
  expect(attention.body.data).toContainEqual(
    expect.objectContaining({ kind: 'endpoint', endpoint: 'audit' }),
  );

  const well = await start();
  const delivered = await waitFor(async () => {
    const delivery = await onlyDelivery(well);
    return delivery.state === 'delivered' && delivery;
  });
  expect(delivered.attempt_count).toBe(1);
  const lines = well.log().filter(({ msg }) => msg === 'run.completed');
  expect(lines).toMatchObject([{ event: { data: { run_id: id } } }]);
  expect((await readiness(well)).text).not.toContain('log');
  expect(await broken.stop()).toBe(0);
});
