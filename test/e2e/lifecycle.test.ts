import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, realpath, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { probeServer, socketPathFor } from '../../src/redis/embedded/process.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { eventsOf, waitUntilAllDelivered, watchOf } from '../support/daemon-listings.ts';
import { SHIPPED_MAIN } from '../support/built-main.ts';
import {
  cleanEnv,
  spawnDaemonProcess,
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonOptions,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { listenRaw } from '../support/raw-server.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

let noxus: Simulator;
let receiver: Receiver;
/** Takes its time to answer, so that attempts are under way. */
let slow: Receiver;
const daemons: DaemonProcess[] = [];
const servers: { close(): Promise<void> }[] = [];
const folders: string[] = [];

function configOf(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        timeout: '60s',
        rate_limit: { requests: 10_000, per: '1s' },
      },
    },
    polling: { min_interval: '50ms', max_interval: '200ms', hints: 'off' },
    endpoints: {
      hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['*'], default: true },
      slow: { type: 'webhook', url: slow.url, secret: SECRET },
    },
    egress: { allow: ['127.0.0.1/32'] },
    ...changes,
  };
}

async function start(options: DaemonOptions = {}): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({ config: configOf(), ...options });
  daemons.push(daemon);
  return daemon;
}

/** Starts a daemon that is not expected to come up. */
async function spawnDaemon(options: DaemonOptions): Promise<DaemonProcess> {
  const daemon = await spawnDaemonProcess({ config: configOf(), ...options });
  daemons.push(daemon);
  return daemon;
}

async function aFolder(): Promise<string> {
  const folder = await tempDir();
  folders.push(folder);
  return folder;
}

const aRun = (status: string) => noxus.add({ steps: [{ after_ms: 0, status }] }).id;

async function get(daemon: DaemonProcess, path: string) {
  const response = await fetch(`${daemon.url}${path}`);
  return { status: response.status, text: await response.text() };
}

/** Sends requests that a daemon reads at once when it goes on, however slow this process is. */
async function getAtOnce(daemon: DaemonProcess, paths: string[]): Promise<string[]> {
  daemon.signal('SIGSTOP');
  const sockets = await Promise.all(paths.map((path) => sendGet(daemon, path)));
  daemon.signal('SIGCONT');
  return Promise.all(sockets.map(textOf));
}

/** Sends a request without waiting for the answer. */
async function sendGet({ url }: DaemonProcess, path: string): Promise<Socket> {
  const { hostname, port, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  // So little is with the kernel at once.
  const head = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  socket.write(head);
  return socket;
}

const toldOf = ({ received }: Receiver, runId: string) =>
  received.filter(({ body }) => body.includes(runId));

const hasLogged = (daemon: DaemonProcess, msg: string) =>
  daemon.log().some((line) => line.msg.startsWith(msg));

/** What answers at the place of the Redis that a daemon runs on its data directory. */
async function embeddedRedis(dataDir: string): Promise<string> {
  if (!existsSync(dataDir)) return 'absent';
  const probe = await probeServer(await socketPathFor(await realpath(dataDir), []));
  if (probe.kind === 'ready') probe.control.disconnect();
  return probe.kind;
}

/** One sentence for people: a line, without a stack or anything of an object. */
function expectOneSentence(text: string): void {
  expect(text.trimEnd().split('\n')).toHaveLength(1);
  expect(text).not.toMatch(/\n\s+at |\[object|Error:|undefined/);
  expect(text.length).toBeLessThan(400);
}

/** For how long Redis is away. */
const AWAY_MS = 3_000;

interface Outage {
  how: string;
  leave(redis: PrivateRedis): unknown;
  comeBack(redis: PrivateRedis): unknown;
}

const OUTAGES: Outage[] = [
  {
    how: 'is killed and started again',
    leave: (redis) => redis.kill(),
    comeBack: (redis) => redis.restart(),
  },
  {
    how: 'hangs for a while',
    leave: ({ pid }) => process.kill(pid, 'SIGSTOP'),
    comeBack: ({ pid }) => process.kill(pid, 'SIGCONT'),
  },
];

/** Completes runs while Redis is away. @returns what was observed, once all are notified */
async function playOutage({ leave, comeBack }: Outage) {
  const redis = await startPrivateRedis({ aof: true });
  servers.push({ close: () => redis.stop() });
  const daemon = await start({ env: { REDIS_URL: redis.url } });
  const reader = watchReader(() => daemon);
  const ids = Array.from({ length: 10 }, () => aRun('running'));
  await daemon.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  await Promise.all(ids.map((runId) => reader.until(runId, ({ run }) => run !== null)));

  const from = Date.now();
  await leave(redis);
  for (const runId of ids) noxus.setStatus(runId, 'completed');
  await waitFor(async () => (await get(daemon, '/readyz')).status === 503);
  const live = (await get(daemon, '/livez')).status;
  await waitFor(() => Date.now() >= from + AWAY_MS);
  const until = Date.now();
  await comeBack(redis);
  await waitFor(async () => (await get(daemon, '/readyz')).status === 200);
  const told = () => ids.filter((runId) => toldOf(receiver, runId).length > 0);
  await waitFor(() => told().length === ids.length, {
    describe: () => `every run to be told of, have ${told().length}`,
  });
  await waitUntilAllDelivered(daemon);
  return { daemon, ids, live, from, until };
}

/** Takes ten seconds to give up. */
let withoutRedis: DaemonProcess;
/** They take their time, which the other tests make use of. */
let outages: Promise<Awaited<ReturnType<typeof playOutage>>>[];

beforeAll(async () => {
  [noxus, receiver, slow] = await Promise.all([
    startSimulator(),
    startReceiver({ secrets: [SECRET] }),
    startReceiver({ secrets: [SECRET], respond: () => ({ status: 204, delayMs: 1_500 }) }),
  ]);
  withoutRedis = await spawnDaemon({ env: { REDIS_URL: 'redis://127.0.0.1:1' } });
  outages = OUTAGES.map(playOutage);
  // A failure is reported by the tests that use the outcome.
  for (const outage of outages) outage.catch(() => undefined);
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus, receiver, slow, ...servers].map((server) => server.close()));
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

test('a full disk under the log is reported once on stderr, and does not end the daemon', async () => {
  const free = await listenRaw(() => undefined);
  await free.close();
  const full = await open('/dev/full', 'w');
  const dataDir = await tempDir();
  folders.push(dataDir);
  const env = { NOXUS_API_KEY: noxus.apiKey, NOXUS_BACKEND_URL: noxus.url };
  const args = [SHIPPED_MAIN, 'serve', '--port', String(free.port), '--data-dir', dataDir];
  const child = spawn(process.execPath, args, {
    env: cleanEnv(env),
    stdio: ['ignore', full.fd, 'pipe'],
  });
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = once(child, 'exit');
  try {
    const ready = `http://127.0.0.1:${free.port}/readyz`;
    await waitFor(async () => (await fetch(ready)).status === 200);
    await waitFor(() => stderr.includes('ENOSPC'));
  } finally {
    child.kill('SIGTERM');
    await exited;
    await full.close();
  }
  expect(stderr.match(/the log cannot be written: .*ENOSPC/g)).toHaveLength(1);
});

describe('daemon after SIGTERM', () => {
  test('SIGTERM fails readiness, finishes or releases claims, and exits 0', async () => {
    // A collector that does not answer holds up the stop for a while.
    const silent = await listenRaw(() => undefined);
    servers.push(silent);
    const daemon = await start({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: silent.origin } });
    const [polled, told] = [aRun('running'), aRun('completed')];
    await daemon.api('/v1/watches', { run_id: polled });
    await waitFor(async () => (await watchOf(daemon, polled)).polls > 0);
    // A read that takes so long is given up, and made by the next daemon.
    noxus.fault({ kind: 'stall', ms: 60_000, run_id: polled, count: 1 });
    await daemon.api('/v1/watches', { run_id: told, endpoints: ['slow'] });
    await waitFor(
      () => toldOf(slow, told).length === 1 && noxus.requests.run(polled).inFlight === 1,
    );
    noxus.setStatus(polled, 'failed');

    const ended = daemon.stop('SIGTERM');
    const [ready, live] = await waitFor(async () => {
      const answers = await getAtOnce(daemon, ['/readyz', '/livez']);
      return answers[0]?.startsWith('HTTP/1.1 503 ') && answers;
    });
    expect(ready).toMatch(/^failed process: /m);
    expect(live).toMatch(/^HTTP\/1\.1 200 /);
    expect(await ended).toBe(0);
    expect(daemon.stderr()).toBe('');
    expect(daemon.log().at(-1)?.msg).toBe('stopped');
    expect(await embeddedRedis(daemon.dataDir)).toBe('absent');

    const next = await start({ dataDir: daemon.dataDir });
    await waitFor(async () => (await watchOf(next, polled)).state === 'finished');
    await waitFor(() => toldOf(receiver, polled).length === 1);
    await waitUntilAllDelivered(next);
    // The attempt under way was handed back, so that the next daemon made it again, by the same id.
    const attempts = toldOf(slow, told);
    expect(attempts.length).toBeGreaterThanOrEqual(1);
    expect(new Set(attempts.map(({ id }) => id)).size).toBe(1);
    expect(await next.stop('SIGINT')).toBe(0);
  });

  test('SIGTERM exits 0 although a request exceeds the shutdown timeout', async () => {
    const runId = aRun('running');
    const config = configOf({ server: { shutdown_timeout: '4s' } });
    const daemon = await start({ config });
    noxus.fault({ kind: 'stall', ms: 60_000, run_id: runId });
    await daemon.api('/v1/watches', { run_id: runId });
    await waitFor(() => noxus.requests.run(runId).inFlight === 1);
    expect(await daemon.stop()).toBe(0);
    expect(await embeddedRedis(daemon.dataDir)).toBe('absent');
    await waitFor(() => noxus.requests.run(runId).inFlight === 0);
  });

  test('SIGTERM during the start exits 0', async () => {
    const silent = await listenRaw(() => undefined);
    servers.push(silent);
    const daemon = await spawnDaemon({ env: { REDIS_URL: `redis://127.0.0.1:${silent.port}` } });
    await waitFor(() => silent.connects() > 0);
    expect(await daemon.stop()).toBe(0);
  });

  test('a second SIGTERM exits 1 at once, and the next daemon takes over the Redis', async () => {
    const runId = aRun('running');
    const daemon = await start();
    noxus.fault({ kind: 'stall', ms: 60_000, run_id: runId });
    await daemon.api('/v1/watches', { run_id: runId });
    await waitFor(() => noxus.requests.run(runId).inFlight === 1);
    void daemon.stop();
    await waitFor(() => hasLogged(daemon, 'stopping'));
    expect(await daemon.stop()).toBe(1);
    expect(await embeddedRedis(daemon.dataDir)).toBe('ready');

    const next = await start({ dataDir: daemon.dataDir });
    expect(next.log()).toContainEqual(
      expect.objectContaining({ msg: 'the Redis server is running', reused: true }),
    );
    expect(await watchOf(next, runId)).toMatchObject({ state: 'active' });
    expect(await next.stop()).toBe(0);
    expect(await embeddedRedis(daemon.dataDir)).toBe('absent');
  });
});

describe('failing start of the daemon', () => {
  test('a start on a port in use prints one sentence and leaves no process', async () => {
    const port = Number(new URL(noxus.url).port);
    const daemon = await spawnDaemon({ config: configOf({ server: { port } }) });
    expect(await daemon.exited).toBe(1);
    await waitFor(() => daemon.stderr() !== '');
    expectOneSentence(daemon.stderr());
    expect(daemon.stderr()).toContain(`port ${port} of 127.0.0.1 is in use`);
    expect(await embeddedRedis(daemon.dataDir)).toBe('absent');
  });

  test('a start with a file as data directory prints one sentence', async () => {
    const dataDir = join(await aFolder(), 'a-file');
    await writeFile(dataDir, '');
    const daemon = await spawnDaemon({ dataDir });
    expect(await daemon.exited).toBe(2);
    await waitFor(() => daemon.stderr() !== '');
    expectOneSentence(daemon.stderr());
    expect(daemon.stderr()).toContain(dataDir);
  });

  test('a start without an answer of Redis prints one sentence', async () => {
    expect(await withoutRedis.exited).toBe(1);
    await waitFor(() => withoutRedis.stderr() !== '');
    expectOneSentence(withoutRedis.stderr());
    expect(withoutRedis.stderr()).toMatch(/Redis at 127\.0\.0\.1:1 was not ready.*ECONNREFUSED/);
  });
});

describe('invalid configuration', () => {
  test.each([
    {
      what: 'a misspelt key',
      changes: { poling: { min_interval: '1s' } },
      says: /runwatch\.yaml:\d+.*poling.*polling/s,
    },
    {
      what: 'an invalid value',
      changes: { watches: { timeout: 'soon' } },
      says: /runwatch\.yaml:\d+.*watches\.timeout.*such as/s,
    },
    {
      what: 'a public host without a token',
      changes: { server: { host: '0.0.0.0' } },
      says: /0\.0\.0\.0 without a token.*RUNWATCH_API_TOKEN/s,
    },
    {
      what: 'a Redis URL of another kind',
      changes: { redis: { url: 'http://127.0.0.1' } },
      says: /redis\.url.*redis:\/\//s,
    },
  ])('a configuration with $what exits 2 before any connection', async (given) => {
    const { changes, says } = given;
    const redis = await listenRaw(() => undefined);
    servers.push(redis);
    const dataDir = join(await aFolder(), 'data');
    const config = configOf({ redis: { url: `redis://127.0.0.1:${redis.port}` }, ...changes });
    const daemon = await spawnDaemon({ config, dataDir });
    expect(await daemon.exited).toBe(2);
    await waitFor(() => daemon.stderr() !== '');
    expect(daemon.stderr()).toMatch(says);
    expect(daemon.log()).toEqual([]);
    expect(redis.connects()).toBe(0);
    expect(existsSync(dataDir)).toBe(false);
  });
});

test('signals that mean nothing to a daemon open no debugger and do not end it', async () => {
  const redis = await startPrivateRedis();
  servers.push({ close: () => redis.stop() });
  const daemon = await start({ env: { REDIS_URL: redis.url } });
  const ignored = () =>
    daemon.log().flatMap(({ msg, signal }) => (msg.startsWith('a signal') ? [signal] : []));
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const) {
    daemon.signal(signal);
    await waitFor(() => ignored().includes(signal));
  }
  expect((await get(daemon, '/livez')).status).toBe(200);
  expect(daemon.stderr()).toBe('');
  expect(await daemon.stop('SIGTERM')).toBe(0);
});

test('a start in a directory that was removed is refused in one sentence', async () => {
  const cwd = await aFolder();
  const script = 'rmdir "$PWD"; exec "$0" "$@"';
  const args = ['-c', script, process.execPath, SHIPPED_MAIN, 'serve'];
  const child = spawn('sh', args, { cwd, env: cleanEnv(), stdio: ['ignore', 'ignore', 'pipe'] });
  const said = await textOf(child.stderr);
  expectOneSentence(said);
  expect(said).toContain('the working directory was removed: change to one that exists');
});

describe.each(OUTAGES.map(({ how }, at) => ({ how, at })))(
  'daemon on a Redis that $how',
  ({ how, at }) => {
    let outage: Awaited<ReturnType<typeof playOutage>>;

    beforeAll(async () => {
      outage = (await outages[at]) as typeof outage;
    });

    test(`a Redis that ${how} makes the daemon unready, but does not end it`, () => {
      expect(outage.live).toBe(200);
      expect(outage.daemon.stderr()).toBe('');
    });

    test(`a Redis that ${how} is logged in one or two lines`, () => {
      const lines = outage.daemon.log().filter(({ time, msg }) => {
        const moment = Date.parse(time);
        const isMeanwhile = moment >= outage.from && moment < outage.until;
        return isMeanwhile && msg !== 'delivery' && msg !== 'poll';
      });
      const ofKind = (kind: string) => lines.filter(({ msg }) => msg === kind).length;
      const kinds = [...new Set(lines.map(({ msg }) => msg))];
      expect(kinds.length).toBeLessThan(5);
      expect(kinds.map(ofKind).filter((count) => count > 2)).toEqual([]);
    });

    test(`no event is lost by a Redis that ${how}`, async () => {
      const { daemon, ids } = outage;
      for (const runId of ids) {
        const [event, ...more] = await eventsOf(daemon, runId);
        expect([event?.type, more]).toEqual(['run.completed', []]);
        expect(new Set(toldOf(receiver, runId).map(({ id }) => id))).toEqual(new Set([event?.id]));
        expect(await watchOf(daemon, runId)).toMatchObject({ state: 'finished' });
      }
    });
  },
);
