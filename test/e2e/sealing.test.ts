import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import {
  spawnDaemonProcess,
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const NEW_KEY = Buffer.alloc(32, 6).toString('base64');

let redis: PrivateRedis;
let noxus: Simulator;
/** Receives the per-watch webhooks. */
let own: Receiver;
/** Receives for a configured endpoint with a rotated secret. */
let ops: Receiver;
/** Where the first daemons keep their key, and a host that has none of it. */
let home: string;
let elsewhere: string;
let running: DaemonProcess[] = [];
/** The runs that are watched, each by a webhook with a secret. */
const runIds: string[] = [];
let rotated: string;

beforeAll(async () => {
  [redis, noxus, own, ops] = await Promise.all([
    startPrivateRedis(),
    startSimulator(),
    startReceiver({ secrets: [SECRET] }),
    startReceiver({ secrets: [] }),
  ]);
  [home, elsewhere] = await Promise.all([tempDir(), tempDir()]);
});

afterAll(async () => {
  await stopAll(running);
  await Promise.all([own, ops, noxus].map((server) => server.close()));
  await redis.stop();
  for (const dir of [home, elsewhere]) await rm(dir, { recursive: true, force: true });
});

/** What starts a daemon on the shared Redis; by default as one that was given no key. */
function optionsOf(dataDir: string, env: Record<string, string> = {}) {
  return {
    dataDir,
    env: { REDIS_URL: `unix://${redis.url}`, ...env },
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      endpoints: { ops: { type: 'webhook', url: ops.url } },
      egress: { allow: ['127.0.0.1/32'] },
    },
  };
}

/** Ends the daemons that run, and starts another. */
async function restart(dataDir: string, env?: Record<string, string>): Promise<DaemonProcess> {
  await Promise.all(running.map((daemon) => daemon.stop()));
  const daemon = await startDaemonProcess(optionsOf(dataDir, env));
  running = [daemon];
  return daemon;
}

const keptKey = async () => (await readFile(join(home, 'encryption-key'), 'utf8')).trim();

interface Listed {
  id: string;
  state: string;
  last: { error: { code: string } | null } | null;
}

/** The deliveries of the webhooks that came with watches. */
async function deliveries(daemon: DaemonProcess): Promise<Listed[]> {
  const lists = runIds.map((id) => daemon.api<{ data: Listed[] }>(`/v1/deliveries?run_id=${id}`));
  return (await Promise.all(lists)).flatMap(({ body }) => body.data);
}

async function redeliverAll(daemon: DaemonProcess): Promise<void> {
  for (const { id } of await deliveries(daemon)) {
    expect((await daemon.api(`/v1/deliveries/${id}/redeliver`, {})).status).toBe(202);
  }
}

/** Waits for one more webhook of every watch, and expects that all were signed by the secret. */
async function expectWebhooks(since: number): Promise<void> {
  await waitFor(() => own.received.length >= since + runIds.length, {
    describe: () => `webhooks of ${runIds.length} watches after ${since}`,
  });
  expect(own.received.map(({ verified }) => verified)).not.toContain(false);
}

async function expectWebhooksAgain(daemon: DaemonProcess): Promise<void> {
  const since = own.received.length;
  await redeliverAll(daemon);
  await expectWebhooks(since);
}

/** Whether the rotated secret of the endpoint signs. */
async function expectRotated(daemon: DaemonProcess): Promise<void> {
  const { body } = await daemon.api('/v1/endpoints/ops/test', {});
  expect(body).toMatchObject({ delivered: true });
  const { body: text, headers } = ops.received.at(-1)!;
  expect(new Webhook(rotated).verify(text, headers)).toMatchObject({ type: 'runwatch.test' });
}

/** Runs the verb where the first daemons keep their key. */
const reencrypt = (env: Record<string, string>) =>
  runBuiltCli(['reencrypt', '--json'], { ...optionsOf(home, env).env, RUNWATCH_DATA_DIR: home });

/** The line in which a daemon says where a key is kept. */
const remarkOf = (daemon: DaemonProcess) =>
  daemon.log().filter(({ path }) => String(path).endsWith('/encryption-key'));

test('daemons without a key that start at once make one common key, and accept secrets', async () => {
  running = await Promise.all([1, 2].map(() => startDaemonProcess(optionsOf(home))));
  for (const daemon of running) {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
    const webhook = { url: `${own.url}/${id}`, secret: SECRET, headers: { 'x-key': 'mine' } };
    expect((await daemon.api('/v1/watches', { run_id: id, webhook })).status).toBe(201);
    runIds.push(id);
  }
  const { status, body } = await running[0]!.api('/v1/endpoints/ops/rotate', { overlap: '0s' });
  expect(status).toBe(200);
  rotated = body.secret;
  await expectWebhooks(0);
  expect(own.received.map(({ headers }) => headers['x-key'])).toEqual(['mine', 'mine']);
  expect(await keptKey()).toMatch(/^[\w+/]{43}=$/);
  expect((await stat(join(home, 'encryption-key'))).mode & 0o777).toBe(0o600);
});

test('each daemon logs the path of the generated key once, and never the key', async () => {
  const key = await keptKey();
  for (const daemon of running) {
    expect(remarkOf(daemon)).toMatchObject([
      { level: 'info', msg: expect.stringContaining('RUNWATCH_ENCRYPTION_KEY') },
    ]);
    expect(JSON.stringify(daemon.log()) + daemon.stderr()).not.toContain(key);
  }
});

test('secrets sign as before after a restart', async () => {
  const daemon = await restart(home);
  await expectWebhooksAgain(daemon);
  await expectRotated(daemon);
});

test('a daemon without the stored key does not start and names it, and starts with the key', async () => {
  await Promise.all(running.map((daemon) => daemon.stop()));
  const without = await spawnDaemonProcess(optionsOf(elsewhere));
  running = [without];
  expect(await without.exited).toBe(2);
  expect(without.stderr()).toMatch(
    /3 secrets in Redis are encrypted by the key [0-9a-f]{8}, which is not here: put it back .*--discard/,
  );
  await expect(stat(join(elsewhere, 'encryption-key'))).rejects.toThrow('ENOENT');
  await expectWebhooksAgain(await restart(elsewhere, { RUNWATCH_ENCRYPTION_KEY: await keptKey() }));
});

test('a key configured later encrypts, and the generated key still decrypts', async () => {
  const daemon = await restart(home, { RUNWATCH_ENCRYPTION_KEY: NEW_KEY });
  expect(remarkOf(daemon)).toMatchObject([{ msg: expect.stringContaining('besides') }]);
  await expectWebhooksAgain(daemon);
  await expectRotated(daemon);
});

test('reencrypt requires a configured key', async () => {
  const { exitCode, stderr } = await reencrypt({});
  expect(exitCode).toBe(2);
  expect(stderr).toContain('RUNWATCH_ENCRYPTION_KEY');
});

test('reencrypt moves all secrets to the configured key, so that the generated one can go', async () => {
  const env = { RUNWATCH_ENCRYPTION_KEY: NEW_KEY };
  const { exitCode, stdout } = await reencrypt(env);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    examined: 3,
    reencrypted: 3,
    unreadable: [],
    discarded: 0,
  });
  const daemon = await restart(elsewhere, env);
  expect(remarkOf(daemon)).toEqual([]);
  await expectWebhooksAgain(daemon);
  await expectRotated(daemon);
});

test('reencrypt --discard drops secrets of a lost key, and daemons start again', async () => {
  await Promise.all(running.map((daemon) => daemon.stop()));
  const options = optionsOf(elsewhere);
  const refused = await spawnDaemonProcess(options);
  expect(await refused.exited).toBe(2);
  const env = { ...options.env, RUNWATCH_DATA_DIR: elsewhere };
  const { exitCode, stdout } = await runBuiltCli(['reencrypt', '--discard', '--json'], env);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ examined: 3, discarded: 3 });
  const daemon = await restart(elsewhere);
  const { body } = await daemon.api(`/v1/watches/${runIds[0]}`);
  expect(body).toMatchObject({ subscriptions: [] });
});

test('an empty key file prevents a start, and is not changed', async () => {
  const dataDir = await tempDir();
  const path = join(dataDir, 'encryption-key');
  await writeFile(path, '');
  const daemon = await spawnDaemonProcess(optionsOf(dataDir));
  running.push(daemon);
  expect(await daemon.exited).toBe(1);
  expect(daemon.stderr()).toContain(`${path} holds no secret (expected 32 bytes`);
  expect(await readFile(path, 'utf8')).toBe('');
});
