import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { routes, type Route } from '../../src/http/schemas/routes.ts';
import { endUnreachableServers } from '../../src/redis/embedded/process.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { MAIN } from '../support/built-main.ts';
import {
  cleanEnv,
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { readAll, type DeliveryJson } from '../support/daemon-listings.ts';
import { startPrivateRedis } from '../support/redis.ts';
import { closeConnection } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

let noxus: Simulator;
let ops: Receiver;
let home: string;
const running: DaemonProcess[] = [];

beforeAll(async () => {
  [noxus, ops, home] = await Promise.all([
    startSimulator(),
    startReceiver({ secrets: [SECRET] }),
    tempDir(),
  ]);
});

afterAll(async () => {
  await stopAll(running);
  // That of the daemon that was killed.
  await endUnreachableServers(live());
  await Promise.all([ops.close(), noxus.close()]);
  await rm(home, { recursive: true, force: true });
});

const live = () => join(home, 'live');
const file = () => join(home, 'store.rdb');

async function serve(dataDir: string, args: string[] = []): Promise<DaemonProcess> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const daemon = await startDaemonProcess({
    dataDir,
    args,
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      endpoints: {
        ops: { type: 'webhook', url: ops.url, secret: SECRET, events: ['run.completed'] },
      },
    },
  });
  running.push(daemon);
  return daemon;
}

const store = (...args: string[]) => runBuiltCli(['store', ...args], { NOXUS_API_KEY: 'nox' });

const pendingOf = async (daemon: DaemonProcess) =>
  (await readAll<DeliveryJson>(daemon, '/v1/deliveries')).filter(({ state }) =>
    ['pending', 'parked'].includes(state),
  );

const watch = (daemon: DaemonProcess, run_id: string) => daemon.api('/v1/watches', { run_id });

const aRun = (status: string) => noxus.add({ steps: [{ after_ms: 0, status }] }).id;

test('a backup under load is restored, verified, looked at without a message, and goes on', async () => {
  const daemon = await serve(live());
  await daemon.api('/v1/endpoints/ops/pause', {});
  const ended = Array.from({ length: 10 }, () => aRun('completed'));
  for (const id of ended) await watch(daemon, id);
  await waitFor(async () => (await pendingOf(daemon)).length === ended.length);

  const over = new AbortController();
  const load = async () => {
    while (!over.signal.aborted) await watch(daemon, aRun('running'));
  };
  const loading = load();
  const made = await store('backup', file(), '--data-dir', live(), '--json');
  expect(await store('verify', '--data-dir', live())).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('no problem was found'),
  });
  over.abort();
  await loading;
  expect(made).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('encryption-key') });
  expect(JSON.parse(made.stdout)).toMatchObject({ file: file(), form: expect.any(String) });
  await daemon.stop('SIGKILL');

  const trial = join(home, 'trial');
  await mkdir(trial, { mode: 0o700 });
  for (const name of ['encryption-key', 'signing-secret']) {
    await cp(join(live(), name), join(trial, name));
  }
  const restored = await store('restore', file(), '--data-dir', trial);
  expect([restored.exitCode, restored.stdout, restored.stderr]).toEqual([
    0,
    expect.stringContaining('no problem'),
    expect.stringContaining('encryption-key'),
  ]);

  const look = await serve(trial, ['--no-deliver']);
  expect(await pendingOf(look)).toHaveLength(ended.length);
  const seen = aRun('completed');
  expect((await watch(look, seen)).status).toBe(201);
  const all = [...ended, seen].toSorted();
  await waitFor(async () => (await pendingOf(look)).some(({ run_id: id }) => id === seen));
  await look.api('/v1/endpoints/ops/resume', {});
  expect(await look.api<string>('/readyz')).toMatchObject({
    status: 200,
    body: expect.stringContaining('--no-deliver: nothing is sent'),
  });
  for (const [route, answer] of await sendingCalls(look)) {
    expect([route, answer]).toMatchObject([
      route,
      { status: 409, body: { code: 'sends_nothing' } },
    ]);
  }
  expect((await look.api('/session')).body).toMatchObject({ sends_nothing: true });
  expect(await look.stop()).toBe(0);
  expect(ops.received).toEqual([]);

  const last = await serve(trial);
  await waitFor(async () => (await pendingOf(last)).length === 0);
  const received = ops.received.map(({ body }) => JSON.parse(body).data as { run_id: string });
  expect(received.map(({ run_id: id }) => id).toSorted()).toEqual(all);
  expect(await last.stop()).toBe(0);
});

/** What each route of the API answers that sends something. */
async function sendingCalls(daemon: DaemonProcess) {
  const all = Object.values(routes).flatMap((own) => Object.values<Route>(own));
  const sending = all.filter(({ sends }) => sends === true);
  expect(sending).toHaveLength(5);
  return Promise.all(
    sending.map(async ({ route }) => {
      const [method = '', path = ''] = route.split(' ');
      return [route, await daemon.api(path.replaceAll(/\{\w+\}/g, 'x'), {}, method)] as const;
    }),
  );
}

/** Runs a verb about the store, and kills it once something is there. */
async function kill(args: string[], isThere: () => Promise<boolean>): Promise<void> {
  const child = spawn(process.execPath, [MAIN, 'store', ...args], {
    env: cleanEnv({ NOXUS_API_KEY: 'nox' }),
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  await waitFor(async () => child.exitCode !== null || (await isThere()));
  child.kill('SIGKILL');
  await ended;
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

test('a backup that is killed leaves a whole file under its name, or none', async () => {
  const killed = join(home, 'killed.rdb');
  const hasBegun = async () => {
    const names = await readdir(home);
    return names.some((name) => name.startsWith('killed.rdb'));
  };
  await kill(['backup', killed, '--data-dir', live()], hasBegun);
  if (await isThere(killed)) expect(await store('verify', killed)).toMatchObject({ exitCode: 0 });
  const again = await store('backup', killed, '--force', '--data-dir', live());
  expect([again.exitCode, again.stderr]).toEqual([0, expect.stringContaining('encryption-key')]);
  expect(await store('verify', killed)).toMatchObject({ exitCode: 0 });
});

test('a backup that is ended by a signal leaves no file, and one that is killed leaves what the next removes', async () => {
  const dir = join(home, 'ended');
  await mkdir(dir);
  const redis = await startPrivateRedis({ args: ['--repl-diskless-sync-delay', '3600'] });
  try {
    const env = { NOXUS_API_KEY: 'nox', REDIS_URL: `unix://${redis.url}` };
    const path = join(dir, 'a.rdb');
    for (const [signal, left] of [
      ['SIGTERM', 0],
      ['SIGINT', 0],
      ['SIGKILL', 1],
    ] as const) {
      const child = spawn(process.execPath, [MAIN, 'store', 'backup', path], {
        env: cleanEnv(env),
        stdio: 'ignore',
      });
      const ended = once(child, 'exit');
      await waitFor(async () => child.exitCode !== null || (await readdir(dir)).length > 0);
      child.kill(signal);
      await ended;
      expect([signal, await readdir(dir)]).toMatchObject([signal, { length: left }]);
    }
    const control = new Redis(redis.url);
    await control.config('SET', 'repl-diskless-sync-delay', '0');
    await closeConnection(control);
    expect(await runBuiltCli(['store', 'backup', path], env)).toMatchObject({ exitCode: 0 });
    expect(await readdir(dir)).toEqual(['a.rdb']);
  } finally {
    await redis.stop();
  }
});

test('a restore that is killed leaves a whole store, or none and may be repeated', async () => {
  const dir = join(home, 'half');
  await kill(['restore', file(), '--data-dir', dir], () => isThere(join(dir, 'restoring')));
  const found = await store('--data-dir', dir);
  if (found.exitCode !== 0) {
    expect(found).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('no store') });
    expect(await store('restore', file(), '--data-dir', dir)).toMatchObject({ exitCode: 0 });
  }
  expect(await store('verify', '--data-dir', dir)).toMatchObject({ exitCode: 0 });
});
