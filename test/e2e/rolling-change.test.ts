import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { readAll, type DeliveryJson } from '../support/daemon-listings.ts';
import {
  buildOfVersion,
  spawnDaemonProcess,
  stopAll,
  tempDir,
  type DaemonOptions,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
const VERSION = (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version;

/** Runs of each kind of watch; one of each ends every so many ms. */
const RUNS = 20;
const END_EVERY_MS = 100;

let noxus: Simulator;
let receiver: Receiver;
let nextBuild: string;
const daemons: DaemonProcess[] = [];

beforeAll(async () => {
  nextBuild = await tempDir();
  noxus = await startSimulator();
  // So that some attempts are under way whenever a daemon stops.
  receiver = await startReceiver({
    secrets: [SECRET],
    respond: () => ({ status: 204, delayMs: 50 }),
  });
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus, receiver].map((server) => server.close()));
  await rm(nextBuild, { recursive: true });
});

/** A configuration with these endpoints, and these sources beside the default one. */
function optionsWith(endpoints: string[], sources: string[], target: ReturnType<typeof testRedis>) {
  const source = {
    base_url: noxus.url,
    api_key: noxus.apiKey,
    rate_limit: { requests: 1_000, per: '1s' },
  };
  const endpoint = (name: string) => {
    return { type: 'webhook', url: `${receiver.url}/${name}`, secret: SECRET };
  };
  const named = <Value>(names: string[], value: (name: string) => Value) =>
    Object.fromEntries(names.map((name) => [name, value(name)]));
  return {
    env: { REDIS_URL: target.url },
    config: {
      redis: { prefix: target.prefix },
      sources: named(['default', ...sources], () => source),
      polling: { min_interval: '200ms', max_interval: '1s', lists: 'off' },
      endpoints: named(endpoints, endpoint),
    },
  } satisfies DaemonOptions;
}

async function start(options: DaemonOptions): Promise<DaemonProcess> {
  const daemon = await spawnDaemonProcess(options);
  daemons.push(daemon);
  await daemon.ready();
  return daemon;
}

/** The versions of the daemons that run. */
async function versionsOf(daemon: DaemonProcess): Promise<string[]> {
  const { body } = await daemon.api<{ data: { version: string }[] }>('/v1/processes');
  return body.data.map(({ version }) => version).sort();
}

async function watched(daemon: DaemonProcess, given: { source: string; endpoints: string[] }) {
  const ids = Array.from(
    { length: RUNS },
    () => noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id,
  );
  const watches = ids.map((run_id) => ({ run_id, ...given }));
  await daemon.api('/v1/watches/batch', { watches });
  return ids;
}

test("a rolling change of three daemons' version and configuration loses no event and wastes no attempt", async () => {
  const target = testRedis();
  const before = optionsWith(['old', 'kept'], [], target);
  const main = await buildOfVersion('99.0.0', nextBuild);
  const after = { ...optionsWith(['kept', 'added'], ['eu'], target), main };
  const [one, two, three] = await Promise.all([start(before), start(before), start(before)]);
  const olds = await watched(one, { source: 'default', endpoints: ['old', 'kept'] });
  const [four] = await Promise.all([start(after), one.stop()]);
  const beside = [VERSION, VERSION, '99.0.0'].join();
  await waitFor(async () => (await versionsOf(four)).join() === beside);
  const news = await watched(four, { source: 'default', endpoints: ['kept', 'added'] });
  const elsewhere = await watched(four, { source: 'eu', endpoints: ['added'] });

  let ended = 0;
  const timer = setInterval(() => {
    const ids = [olds, news, elsewhere].flatMap((all) => all[ended] ?? []);
    ended += 1;
    for (const id of ids) noxus.setStatus(id, 'completed');
  }, END_EVERY_MS);
  await waitFor(() => receiver.received.length > 0);
  await Promise.all([start(after), two.stop()]);
  const deliveries = () => readAll<DeliveryJson>(four, '/v1/deliveries');
  await waitFor(async () => {
    const settled = (await deliveries()).filter(({ state }) => state === 'delivered');
    return settled.filter(({ endpoint }) => endpoint === 'old').length === RUNS;
  });
  await Promise.all([start(after), three.stop()]);
  await waitFor(async () => {
    return (await deliveries()).filter(({ state }) => state === 'delivered').length === 5 * RUNS;
  });
  clearInterval(timer);
  await waitFor(async () => (await versionsOf(four)).join() === '99.0.0,99.0.0,99.0.0');

  const found = await deliveries();
  expect(found.map(({ attempt_count: count }) => count)).toEqual(found.map(() => 1));
  const runsOf = (name: string) =>
    found.flatMap(({ endpoint, run_id: id }) => (endpoint === name ? [id] : [])).sort();
  expect(runsOf('old')).toEqual(olds.toSorted());
  expect(runsOf('kept')).toEqual([...olds, ...news].sort());
  expect(runsOf('added')).toEqual([...news, ...elsewhere].sort());
});

test('a daemon on records in a form that its version does not know ends with 2 and says why', async () => {
  const target = testRedis();
  const redis = new Redis(target.url);
  await redis.set(`{${target.prefix}}:schema`, '99');
  redis.disconnect();
  const daemon = await spawnDaemonProcess(optionsWith([], [], target));
  daemons.push(daemon);
  expect(await daemon.exited).toBe(2);
  await waitFor(() => daemon.stderr() !== '');
  expect(daemon.stderr()).toMatch(/records of form 99.*knows form \d+.*redis\.prefix/);
});
