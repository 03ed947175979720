import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { createKeys } from '../../src/redis/keys.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { readAll, type DeliveryJson } from '../support/daemon-listings.ts';
import {
  spawnDaemonProcess,
  stopAll,
  tempDir,
  type DaemonOptions,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { giveShades, heldAt, NEXT_FORM, NEXT_VERSION, nextKeys } from '../support/next-form.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 4).toString('base64')}`;
const VERSION = (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version;
const NEXT_DAEMON = new URL('../support/next-form-daemon.ts', import.meta.url).pathname;

let noxus: Simulator;
let open: Receiver;
let shut: Receiver;
let isShut = true;
/** Ids of the messages that receivers have accepted. */
const accepted: string[] = [];
let dataDir: string;
const daemons: DaemonProcess[] = [];

beforeAll(async () => {
  dataDir = await tempDir();
  noxus = await startSimulator();
  const receive = (mayRefuse: boolean) =>
    startReceiver({
      secrets: [SECRET],
      respond({ id }) {
        if (mayRefuse && isShut) return 503;
        accepted.push(`${mayRefuse ? 'shut' : 'open'} ${id}`);
        return 204;
      },
    });
  [open, shut] = await Promise.all([receive(false), receive(true)]);
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus, open, shut].map((server) => server.close()));
  await rm(dataDir, { recursive: true, force: true });
});

function aStore() {
  const target = testRedis();
  const endpoint = ({ url }: Receiver) => ({ type: 'webhook', url, secret: SECRET });
  const options = {
    dataDir,
    env: { REDIS_URL: target.url },
    config: {
      redis: { prefix: target.prefix },
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      polling: { min_interval: '200ms', max_interval: '1s', lists: 'off' },
      endpoints: { open: endpoint(open), shut: endpoint(shut) },
    },
  } satisfies DaemonOptions;
  const redis = new Redis(target.url);
  const keys = createKeys(target.prefix);
  const spawn = async (given: DaemonOptions) => {
    const daemon = await spawnDaemonProcess(given);
    daemons.push(daemon);
    return daemon;
  };
  return {
    redis,
    keys,
    old: () => spawn(options),
    next: () =>
      spawn({
        ...options,
        main: NEXT_DAEMON,
        env: { ...options.env, NODE_OPTIONS: '--import tsx' },
      }),
  };
}

/** Where a daemon listens that waits for a migration. */
async function waitingUrl(daemon: DaemonProcess): Promise<string> {
  const line = await waitFor(
    () => daemon.log().find(({ msg }) => msg === 'store.migration_needed'),
    {
      describe: () => `a daemon to wait: ${daemon.stderr()}`,
    },
  );
  return String(line['url']);
}

async function ask(url: string, path: string) {
  const response = await fetch(url + path);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Waits until a daemon that is not ready says what is expected. */
async function unready(url: string, said: RegExp): Promise<void> {
  let text = '';
  await waitFor(
    async () => {
      const answer = await ask(url, '/readyz');
      text = answer.text;
      return answer.status === 503 && said.test(text);
    },
    { describe: () => `${said} in ${text}` },
  );
}

async function answersOf(daemon: DaemonProcess) {
  const [watches, events, deliveries] = await Promise.all([
    readAll<object>(daemon, '/v1/watches'),
    readAll<object>(daemon, '/v1/events'),
    readAll<DeliveryJson>(daemon, '/v1/deliveries'),
  ]);
  const delivered = deliveries.filter(({ endpoint }) => endpoint === 'open');
  // A daemon reads the names of workflows when it can.
  const unnamed = (name: string, value: unknown) => (name === 'workflow_name' ? null : value);
  return JSON.parse(JSON.stringify({ watches, events, delivered }), unnamed) as object;
}

test('an upgrade waits for the old daemon, survives a kill in its midst, loses nothing and sends nothing twice', async () => {
  const { redis, keys, old, next } = aStore();
  const one = await old();
  await one.ready();
  const ids = Array.from(
    { length: 5 },
    () => noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] }).id,
  );
  await one.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  const delivered = async (daemon: DaemonProcess, endpoint: string) =>
    (await readAll<DeliveryJson>(daemon, '/v1/deliveries')).filter(
      (each) => each.endpoint === endpoint && each.state === 'delivered',
    );
  await waitFor(async () => (await delivered(one, 'open')).length === ids.length);
  const before = await answersOf(one);

  const two = await next();
  const url = await waitingUrl(two);
  const oldName = `${hostname()}:${one.pid} (version ${VERSION})`;
  await unready(
    url,
    new RegExp(`^failed store: .* from form ${SCHEMA} to form ${NEXT_FORM} begins`),
  );
  await unready(url, new RegExp(`stop ${oldName.replace(/[()]/g, '\\$&')}\n$`));
  expect(await ask(url, '/livez')).toMatchObject({ status: 200, text: 'ok\n' });
  const refused = await ask(url, '/v1/watches');
  expect(refused.status).toBe(503);
  expect(JSON.parse(refused.text)).toMatchObject({ code: 'store_migrating' });
  expect(refused.headers.get('retry-after')).not.toBeNull();
  expect(await redis.get(keys.schema)).toBe(SCHEMA);

  await redis.set(heldAt(keys), 0);
  expect(await one.stop()).toBe(0);
  await unready(url, /step 1 of 3/);
  const shades = await giveShades(redis, keys);
  await redis.set(heldAt(keys), 1);
  await unready(url, /this process migrates records from form \d+ to form \d+: step 2 of 3/);
  const three = await next();
  const urlOfThree = await waitingUrl(three);
  await unready(urlOfThree, new RegExp(`${hostname()}:${two.pid} .version 99.* migrates records`));
  const late = await old();
  expect(await late.exited).toBe(2);
  await waitFor(() => late.stderr() !== '');
  expect(late.stderr()).toMatch(
    /on their way from form \d+ to form \d+, by .* run version 99\.0\.0/,
  );

  await two.stop('SIGKILL');
  await unready(urlOfThree, /this process migrates .*step 2 of 3/);
  await redis.del(heldAt(keys));
  await three.ready();
  expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
  expect(await redis.hlen(nextKeys(keys).tints)).toBe(shades.size);
  expect(await answersOf(three)).toEqual(before);
  isShut = false;
  await three.api('/v1/endpoints/shut/retry', {});
  await waitFor(async () => (await delivered(three, 'shut')).length === ids.length);
  expect(accepted).toHaveLength(2 * ids.length);
  expect(new Set(accepted).size).toBe(2 * ids.length);

  const back = await old();
  expect(await back.exited).toBe(2);
  await waitFor(() => back.stderr() !== '');
  expect(back.stderr()).toMatch(
    new RegExp(
      `of form ${NEXT_FORM}, .* run version ${NEXT_VERSION.replaceAll('.', '\\.')}, which wrote them`,
    ),
  );
  redis.disconnect();
});

test('a daemon that was frozen while its records were migrated ends with a sentence once it wakes up', async () => {
  const { redis, keys, old, next } = aStore();
  const one = await old();
  await one.ready();
  one.signal('SIGSTOP');
  const two = await next();
  await two.ready();
  expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
  one.signal('SIGCONT');
  expect(await one.exited).toBe(2);
  await waitFor(() => one.stderr() !== '');
  expect(one.stderr()).toMatch(
    /this process stops, since the records were migrated meanwhile: Redis holds records of form/,
  );
  await waitFor(async () => {
    const { body } = await two.api<{ data: { version: string }[] }>('/v1/processes');
    return body.data.map(({ version }) => version).join() === NEXT_VERSION;
  });
  redis.disconnect();
});
