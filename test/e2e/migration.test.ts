import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { createKeys } from '../../src/redis/keys.ts';
import { endUnreachableServers } from '../../src/redis/embedded/process.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
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
let isShut: boolean;
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

beforeEach(() => {
  isShut = true;
  accepted.splice(0);
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus, open, shut].map((server) => server.close()));
  await rm(dataDir, { recursive: true, force: true });
});

function configuration() {
  const endpoint = ({ url }: Receiver) => ({ type: 'webhook', url, secret: SECRET });
  return {
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        rate_limit: { requests: 1_000, per: '1s' },
      },
    },
    polling: { min_interval: '200ms', max_interval: '1s', lists: 'off' },
    endpoints: { open: endpoint(open), shut: endpoint(shut) },
  };
}

async function spawn(given: DaemonOptions): Promise<DaemonProcess> {
  const daemon = await spawnDaemonProcess(given);
  daemons.push(daemon);
  return daemon;
}

const BY_TSX = { NODE_OPTIONS: '--import tsx' };

function spawnNext({ env, ...given }: DaemonOptions): Promise<DaemonProcess> {
  return spawn({ ...given, main: NEXT_DAEMON, env: { ...env, ...BY_TSX } });
}

function aStore() {
  const target = testRedis();
  const options = {
    dataDir,
    env: { REDIS_URL: target.url },
    config: { redis: { prefix: target.prefix }, ...configuration() },
  } satisfies DaemonOptions;
  const redis = new Redis(target.url);
  const keys = createKeys(target.prefix);
  return { redis, keys, old: () => spawn(options), next: () => spawnNext(options) };
}

/** Registers runs that have completed. @returns how many */
async function watchSome(daemon: DaemonProcess): Promise<number> {
  const steps = [{ after_ms: 0, status: 'completed' }];
  const ids = Array.from({ length: 5 }, () => noxus.add({ steps }).id);
  await daemon.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  return ids.length;
}

async function delivered(daemon: DaemonProcess, endpoint: string): Promise<DeliveryJson[]> {
  const all = await readAll<DeliveryJson>(daemon, '/v1/deliveries');
  return all.filter((each) => each.endpoint === endpoint && each.state === 'delivered');
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
  const ofOpen = deliveries.filter(({ endpoint }) => endpoint === 'open');
  // A daemon reads the names of workflows when it can.
  const unnamed = (name: string, value: unknown) => (name === 'workflow_name' ? null : value);
  return JSON.parse(JSON.stringify({ watches, events, ofOpen }), unnamed) as object;
}

test('an upgrade waits for the old daemon, survives a kill in its midst, loses nothing and sends nothing twice', async () => {
  const { redis, keys, old, next } = aStore();
  const one = await old();
  await one.ready();
  const runs = await watchSome(one);
  await waitFor(async () => (await delivered(one, 'open')).length === runs);
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
  await waitFor(async () => (await delivered(three, 'shut')).length === runs);
  expect(accepted).toHaveLength(2 * runs);
  expect(new Set(accepted).size).toBe(2 * runs);

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

test('a backup of the form before is restored by a later version, migrated at its start, and what was pending is sent once', async () => {
  const [live, restored] = [join(dataDir, 'live'), join(dataDir, 'restored')];
  const [file, later] = [join(dataDir, 'store.rdb'), join(dataDir, 'later.rdb')];
  const config = configuration();
  await Promise.all([live, restored].map((dir) => mkdir(dir, { mode: 0o700 })));
  const env = { NOXUS_API_KEY: 'nox' };
  const store = (...args: string[]) => runBuiltCli(['store', ...args], env);
  const nextStore = (...args: string[]) =>
    runBuiltCli(['store', ...args], { ...env, ...BY_TSX }, { main: NEXT_DAEMON });

  const one = await spawn({ dataDir: live, config });
  await one.ready();
  const runs = await watchSome(one);
  await waitFor(async () => (await delivered(one, 'open')).length === runs);
  expect(await store('backup', file, '--data-dir', live)).toMatchObject({ exitCode: 0 });
  // Its heartbeat is in the backup: it counts as dead there.
  await one.stop('SIGKILL');
  await endUnreachableServers(live);
  for (const name of ['encryption-key', 'signing-secret'])
    await cp(join(live, name), join(restored, name));

  expect(await nextStore('restore', file, '--data-dir', restored)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining(`serve migrates them to form ${NEXT_FORM} when it starts`),
  });
  expect(await nextStore('--dry-run', '--data-dir', restored)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^step 1, form \d+ to \d+: .*: 5 records/),
  });
  isShut = false;
  const two = await spawnNext({ dataDir: restored, config });
  await two.ready();
  await waitFor(async () => (await delivered(two, 'shut')).length === runs);
  expect(new Set(accepted).size).toBe(2 * runs);
  expect(accepted).toHaveLength(2 * runs);
  expect(two.log().filter(({ msg }) => msg === 'store.migrated')).toHaveLength(1);

  expect(await nextStore('backup', later, '--data-dir', restored)).toMatchObject({ exitCode: 0 });
  const refused = await store('restore', later, '--data-dir', join(dataDir, 'none'));
  expect(refused.exitCode).not.toBe(0);
  expect(refused.stderr).toContain(
    `holds records of form ${NEXT_FORM}, and this version of runwatch knows form ${SCHEMA}: run version ${NEXT_VERSION}, which wrote them`,
  );
});
