import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { waitUntilAllDelivered } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { startPrivateRedis } from '../support/redis.ts';
import { watchScriptKeys } from '../support/script-keys.ts';
import { startSentinel } from '../support/redis-topology.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const RUNS = 10;

/** Keys that scripts find in what they read: of the watch, and of the delivery, that are due next. */
const FOUND: Record<string, string[]> = {
  rwClaimRequests: ['watch'],
  rwClaim: ['delivery', 'event'],
  rwRecordAttempt: ['delivery', 'event'],
  rwCommitWatch: ['delivery-log', 'event-log', 'run-ids', 'watch-names'],
  rwChunkStarts: ['delivery-log', 'event-log'],
  rwReadNumbers: ['delivery-log', 'event', 'event-log', 'live-events', 'watch', 'watch-names'],
  rwPutBack: ['delivery-log', 'event', 'event-log', 'run-ids', 'watch-names'],
  rwSweepIndex: ['delivery-log', 'event-log', 'watch-names'],
};

/** For how long Redis refuses or stands still; long enough for a hot loop to show. */
const REFUSES_MS = 2_000;

let noxus: Simulator;
let receiver: Receiver;
const daemons: DaemonProcess[] = [];
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  [noxus, receiver] = await Promise.all([startSimulator(), startReceiver({ secrets: [SECRET] })]);
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus, receiver].map((server) => server.close()));
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

async function startOn(redis: Record<string, unknown>): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({
    config: {
      redis,
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 10_000, per: '1s' },
        },
      },
      polling: { min_interval: '50ms', max_interval: '200ms' },
      endpoints: {
        hooks: { type: 'webhook', url: receiver.url, secret: SECRET, default: true },
      },
    },
  });
  daemons.push(daemon);
  return daemon;
}

async function readyz({ url }: DaemonProcess) {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: await response.text() };
}

async function watchRuns(daemon: DaemonProcess): Promise<string[]> {
  const ids = Array.from({ length: RUNS }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  const reader = watchReader(() => daemon);
  await daemon.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  await Promise.all(ids.map((runId) => reader.until(runId, ({ run }) => run !== null)));
  return ids;
}

const notified = (runId: string) =>
  receiver.received.filter(({ body }) => body.includes(runId)).length;

/** Waits until every run's end has been notified. */
async function allNotified(daemon: DaemonProcess, ids: string[]): Promise<void> {
  await waitFor(() => ids.every((runId) => notified(runId) > 0), {
    describe: () => `every run to be notified, have ${ids.filter((id) => notified(id)).length}`,
  });
  await waitUntilAllDelivered(daemon);
}

interface Weirdness {
  name: string;
  /** What it says in readyz and to a registration. */
  said: RegExp;
  begin: (control: Redis, dir: string) => Promise<unknown>;
  end: (control: Redis) => Promise<unknown>;
}

const WEIRD: Weirdness[] = [
  {
    name: 'has no memory left',
    said: /its memory is full \(maxmemory\) \(OOM\)/,
    begin: (control) => control.config('SET', 'maxmemory', '1'),
    end: (control) => control.config('SET', 'maxmemory', '0'),
  },
  {
    name: 'cannot write to its disk',
    said: /it cannot write to its disk \(MISCONF\)/,
    async begin(control, dir) {
      await rm(dir, { recursive: true });
      await control.config('SET', 'save', '3600 1');
      await control.bgsave();
      await waitFor(async () => (await control.info()).includes('rdb_last_bgsave_status:err'));
    },
    end: (control) => control.config('SET', 'save', ''),
  },
];

describe.each(WEIRD)('daemon on a Redis that $name', ({ name, said, begin, end }) => {
  let daemon: DaemonProcess;
  let ids: string[];
  let refused: { text: string; status: number; detail: string; perSecond: number; lines: string[] };

  beforeAll(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'runwatch-disk-'));
    const redis = await startPrivateRedis({ args: ['--dir', dir] });
    cleanups.push(
      () => redis.stop(),
      () => rm(dir, { recursive: true, force: true }),
    );
    const control = new Redis(redis.url, { enableReadyCheck: false, disconnectTimeout: 100 });
    control.on('error', () => undefined);
    cleanups.push(async () => control.disconnect());
    daemon = await startOn({ url: `unix://${redis.url}` });
    ids = await watchRuns(daemon);

    await begin(control, dir);
    await waitFor(async () => (await readyz(daemon)).status === 503);
    for (const runId of ids) noxus.setStatus(runId, 'completed');
    const before = await commandsOf(control);
    const [lines, from] = [daemon.log().length, performance.now()];
    await waitFor(elapsed(REFUSES_MS));
    const seconds = (performance.now() - from) / 1_000;
    const perSecond = ((await commandsOf(control)) - before) / seconds;
    const answer = await daemon.api('/v1/watches', { run_id: 'another' });
    refused = {
      text: (await readyz(daemon)).text,
      status: answer.status,
      detail: String((answer.body as { detail: unknown }).detail),
      perSecond,
      lines: daemon
        .log()
        .slice(lines)
        .map(({ msg }) => msg)
        // What was done just before may be read late.
        .filter((msg) => msg !== 'poll' && msg !== 'delivery'),
    };
    await end(control);
    await waitFor(async () => (await readyz(daemon)).status === 200);
    await allNotified(daemon, ids);
  });

  test(`a Redis that ${name} makes the daemon unready and the API answer 503, with the reason`, () => {
    expect(refused.text).toMatch(said);
    expect(refused.status).toBe(503);
    expect(refused.detail).toMatch(said);
  });

  test(`a Redis that ${name} is tried at intervals, and logged in one or two lines`, () => {
    // Without a pause there are tens of thousands a second.
    expect(refused.perSecond).toBeLessThan(2_000);
    const times = (kind: string) => refused.lines.filter((one) => one === kind).length;
    expect(refused.lines.filter((kind) => times(kind) > 2)).toEqual([]);
    expect(new Set(refused.lines).size).toBeLessThan(6);
    expect(daemon.stderr()).toBe('');
  });

  test(`a Redis that ${name} delays events, which all arrive once`, () => {
    expect(ids.map(notified)).toEqual(ids.map(() => 1));
  });
});

test('after the primary of a Sentinel group is killed, the next one notifies of every end', async () => {
  const servers = await startSentinel();
  cleanups.push(() => servers.stop());
  const { sentinels, name } = servers;
  const daemon = await startOn({ sentinels, name });
  const ids = await watchRuns(daemon);
  await servers.killPrimary();
  for (const runId of ids) noxus.setStatus(runId, 'completed');
  await waitFor(async () => (await readyz(daemon)).status === 503);
  await waitFor(async () => (await readyz(daemon)).status === 200);
  await allNotified(daemon, ids);
  expect(ids.map(notified)).toEqual(ids.map(() => 1));
});

test('an ACL user without INFO and CONFIG suffices, and scripts declare their keys', async () => {
  const redis = await startPrivateRedis({ tcp: true, aof: true });
  cleanups.push(() => redis.stop());
  const operator = new Redis(redis.url, { disconnectTimeout: 100 });
  cleanups.push(async () => operator.disconnect());
  const rights = ['~{runwatch}:*', '&{runwatch}:*', '+@all', '-@admin', '-@dangerous'];
  await operator.call('ACL', 'SETUSER', 'plain', 'on', '>pw', ...rights);
  const keys = await watchScriptKeys(redis.url);
  cleanups.push(async () => keys.stop());

  const daemon = await startOn({ url: redis.url, username: 'plain', password: 'pw' });
  const ids = await watchRuns(daemon);
  for (const runId of ids) noxus.setStatus(runId, 'completed');
  await allNotified(daemon, ids);
  await daemon.api('/v1/events?limit=5');
  expect(daemon.stderr()).toBe('');
  const warnings = daemon.log().filter(({ level }) => level === 'warn');
  expect(warnings).toMatchObject([{ msg: expect.stringMatching(/^no token is configured/) }]);
  const undeclared = Object.entries(keys.undeclared()).map(([name, kinds]) => {
    return [name, kinds.filter((kind) => !FOUND[name]?.includes(kind))];
  });
  expect(undeclared.filter(([, kinds]) => kinds?.length !== 0)).toEqual([]);
});

async function commandsOf(control: Redis): Promise<number> {
  const found = /total_commands_processed:(\d+)/.exec(await control.info('stats'));
  return Number(found?.[1]);
}

function elapsed(ms: number): () => boolean {
  const from = performance.now();
  return () => performance.now() - from >= ms;
}
