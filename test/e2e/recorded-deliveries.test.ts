import { afterEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { deriveEndpointSecret, deriveWebhookSecret } from '../../src/deliver/secrets/sign.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startConnectProxy, type ConnectProxy } from '../support/connect-proxy.ts';
import { readAll, type DeliveryJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { loadRecording } from '../support/recorded-store.ts';
import { testRedis } from '../support/redis.ts';
import { RECORDED_SECRET } from '../support/standing-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

/** Longer than any test: the daemon is killed before it is answered. */
const NEVER_MS = 3_600_000;

/** The webhook of a watch in the recording, and how it is shown. */
const RECORDED_URL = 'http://127.0.0.1:9/hook';
const SHOWN_URL = 'http://127.0.0.1:9/…#a94bb7';

let receivers: Receiver[] = [];
let daemons: DaemonProcess[] = [];
let proxy: ConnectProxy | undefined;

afterEach(async () => {
  await stopAll(daemons);
  await proxy?.close();
  await Promise.all(receivers.map((receiver) => receiver.close()));
  [receivers, daemons, proxy] = [[], [], undefined];
});

async function receive(options: Parameters<typeof startReceiver>[0]): Promise<Receiver> {
  const receiver = await startReceiver(options);
  receivers.push(receiver);
  return receiver;
}

/** The states of deliveries by their ids, of all unless some are given. */
async function statesOf(
  daemon: DaemonProcess,
  given?: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const deliveries = await readAll<DeliveryJson>(daemon, '/v1/deliveries');
  const wanted = deliveries.filter(({ id }) => given === undefined || given.has(id));
  return new Map(wanted.map(({ id, state }) => [id, state]));
}

test('what the recorded store has yet to send goes out once, whenever the daemon is killed', async () => {
  const target = testRedis();
  const redis = new Redis(target.url);
  const { encryptionKey } = await loadRecording(redis, target.prefix, SCHEMA);
  redis.disconnect();
  let isSilent = true;
  const ofWatch = await receive({
    secrets: [deriveWebhookSecret(RECORDED_SECRET, { source: 'default', url: RECORDED_URL })],
    respond: () => ({ status: 204, delayMs: isSilent ? NEVER_MS : 0 }),
  });
  const secrets: string[] = [];
  const derived = await receive({ secrets: [deriveEndpointSecret(RECORDED_SECRET, 'derived')] });
  const gone = await receive({ secrets });
  const flaky = await receive({ secrets });
  // No test may listen where the webhook of the recording is.
  proxy = await startConnectProxy({ ports: { '127.0.0.1:9': Number(new URL(ofWatch.url).port) } });
  const serve = async () => {
    const hook = { type: 'webhook', default: false, events: ['run.failed'] };
    const endpoint = ({ url }: Receiver) => ({ ...hook, url });
    const daemon = await startDaemonProcess({
      config: {
        redis: target,
        encryption: { keys: [encryptionKey] },
        // Not those of the watches: no run is read, so that nothing else is to be sent.
        sources: { other: { base_url: 'http://127.0.0.1:9', api_key: 'key' } },
        endpoints: { derived: endpoint(derived), gone: endpoint(gone), flaky: endpoint(flaky) },
        delivery: { signing_secret: RECORDED_SECRET },
        egress: { allow: ['127.0.0.1/32'], proxy: `http://127.0.0.1:${proxy?.port}` },
      },
    });
    daemons.push(daemon);
    return daemon;
  };

  const first = await serve();
  const before = await statesOf(first);
  const idsIn = (state: string) => [...before].filter(([, own]) => own === state).map(([id]) => id);
  const [pending = '', ...others] = idsIn('pending');
  const [parked = '', ...more] = idsIn('parked');
  expect([others, more]).toEqual([[], []]);
  await first.api(`/v1/endpoints/${encodeURIComponent(SHOWN_URL)}/retry`, {});
  await waitFor(() => ofWatch.received.length === 1);
  await first.stop('SIGKILL');

  isSilent = false;
  const second = await serve();
  await waitFor(async () => (await statesOf(second)).get(pending) === 'delivered');
  await second.stop('SIGKILL');

  const third = await serve();
  expect(await statesOf(third, before)).toEqual(new Map(before).set(pending, 'delivered'));
  expect(derived.received).toEqual([]);
  await third.api('/v1/endpoints/derived/resume', {});
  await waitFor(async () => (await statesOf(third)).get(parked) === 'delivered');
  expect(await statesOf(third, before)).toEqual(
    new Map(before).set(pending, 'delivered').set(parked, 'delivered'),
  );

  const failed = 'evt_failed_X0wHUty6TZ-Cr1-ewSabpA';
  // The first was not answered.
  const arrived = ofWatch.received.map(({ id, verified, headers }) => ({
    id,
    verified,
    authorization: headers['authorization'],
  }));
  const once = { id: failed, verified: true, authorization: 'Bearer of-the-webhook' };
  expect(arrived).toEqual([once, once]);
  expect(derived.received.map(({ id, verified }) => ({ id, verified }))).toEqual([
    { id: failed, verified: true },
  ]);
  expect([...gone.received, ...flaky.received]).toEqual([]);
});
