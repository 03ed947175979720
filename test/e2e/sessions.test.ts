import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const TOKEN = 'a-token-that-may-do-everything';

let noxus: Simulator;
let redis: PrivateRedis;
let dataDir: string;
let daemons: DaemonProcess[] = [];

beforeAll(async () => {
  [noxus, redis] = await Promise.all([startSimulator(), startPrivateRedis()]);
  dataDir = await tempDir();
  const start = () =>
    startDaemonProcess({
      config: {
        redis: { url: `unix://${redis.url}` },
        sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      },
      env: { RUNWATCH_API_TOKEN: TOKEN },
      dataDir,
    });
  daemons = await Promise.all([start(), start()]);
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus?.close(), redis?.stop()]);
  await rm(dataDir, { recursive: true, force: true });
});

async function signIn({ url }: DaemonProcess) {
  const response = await fetch(`${url}/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token: TOKEN, path: '/' }),
  });
  const { csrf } = (await response.json()) as { csrf: string };
  const cookie = response.headers.get('set-cookie')?.split(';')[0] ?? '';
  return { cookie, 'x-runwatch-csrf': csrf };
}

type Headers = Awaited<ReturnType<typeof signIn>>;

async function stateAt({ url }: DaemonProcess, headers: Headers): Promise<unknown> {
  const response = await fetch(`${url}/session`, { headers });
  return ((await response.json()) as { state: unknown }).state;
}

function daemonAt(at: number): DaemonProcess {
  const daemon = daemons[at];
  if (daemon === undefined) throw new Error('there are two daemons');
  return daemon;
}

test('every daemon with the token takes a session, and none takes it after a sign-out at one', async () => {
  const [one, other] = [daemonAt(0), daemonAt(1)];
  const [leaving, staying] = [await signIn(one), await signIn(one)];
  expect(await stateAt(other, leaving)).toBe('signed_in');
  const out = await fetch(`${one.url}/session?path=/`, { method: 'DELETE', headers: leaving });
  expect(out.status).toBe(204);
  expect(await stateAt(other, leaving)).toBe('signed_out');
  expect((await fetch(`${other.url}/v1/watches`, { headers: leaving })).status).toBe(401);
  expect(await stateAt(other, staying)).toBe('signed_in');
});

test('a session holds while Redis is away, so that the dashboard can say so', async () => {
  const daemon = daemonAt(0);
  const headers = await signIn(daemon);
  await redis.kill();
  await waitFor(async () => (await fetch(`${daemon.url}/readyz`)).status === 503);
  expect(await stateAt(daemon, headers)).toBe('signed_in');
  const refused = await fetch(`${daemon.url}/v1/attention`, { headers });
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: 'redis_unavailable' });
});
