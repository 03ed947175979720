import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { chunksOf } from '../../src/core/arrays.ts';
import type { OwnEvent } from '../../src/core/event/event.ts';
import {
  startReceiver,
  type ReceivedWebhook,
  type Receiver,
} from '../../src/simulator/receiver.ts';
import { randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { tempDir } from '../support/daemon-process.ts';
import {
  allOf,
  killableConfig,
  startKillableDaemon,
  type KillableDaemon,
} from '../support/killable-daemon.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const RUNS = 40;
const EACH_CALL = 8;
/** Runs that join a second batch, which closes itself at this number. */
const EXPECTED = 10;
const MAX_FAILED = 3;
/** Kills at random moments, besides those while an event of a batch is being delivered. */
const KILLS = 4;

const random = seededRandom(11);
/** What becomes of each run. */
const ends = Array.from({ length: RUNS }, (_, at) =>
  at % 5 === 1 ? 'failed' : at % 10 === 3 ? 'stopped' : 'completed',
);

let noxus: Simulator;
let receiver: Receiver;
let redis: PrivateRedis;
let dataDir: string;
let daemons: KillableDaemon[];
let runs: string[];
/** One kill at a time: each starts the next process of its daemon. */
let killing = Promise.resolve();
const interrupted = new Set<string>();

beforeAll(async () => {
  [noxus, redis, dataDir] = await Promise.all([
    startSimulator(),
    startPrivateRedis({ aof: true }),
    tempDir(),
  ]);
  receiver = await startReceiver({ secrets: [SECRET], respond });
  const options = {
    dataDir,
    env: { REDIS_URL: redis.url },
    config: {
      ...killableConfig(noxus, { url: receiver.url, secret: SECRET }),
      polling: { min_interval: '50ms', max_interval: '200ms' },
    },
  };
  daemons = await Promise.all([startKillableDaemon(options), startKillableDaemon(options)]);
  runs = ends.map(() => noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id);
  await allOf([killAtRandom(), useBatches()]);
  await killing;
  for (const name of ['nightly', 'counted']) {
    await waitFor(async () => (await batchOf(name)).state === 'completed', {
      describe: `batch ${name} to be completed`,
    });
  }
  await waitFor(async () => {
    const { body } = await ask('/v1/deliveries?state=pending');
    return body.data.length === 0;
  });
});

afterAll(async () => {
  await Promise.all(daemons.map((daemon) => daemon.stop()));
  await Promise.all([receiver.close(), noxus.close(), redis.stop()]);
  await rm(dataDir, { recursive: true, force: true });
});

/** Kills both daemons when the first attempt to deliver an event of a batch arrives, before it is answered. */
function respond({ verified, type, id }: ReceivedWebhook) {
  if (!verified) return 401;
  if (type?.startsWith('batch.') !== true || interrupted.has(String(id))) return 204;
  interrupted.add(String(id));
  for (const daemon of daemons) kill(daemon);
  return { status: 204, delayMs: 200 };
}

function kill(daemon: KillableDaemon): void {
  killing = killing.then(() => daemon.kill());
}

async function killAtRandom(): Promise<void> {
  for (let count = 0; count < KILLS; count += 1) {
    const victim = daemons[randomInteger(random, 0, 1)]!;
    // One of the two is at work; the victim may still be starting.
    await waitFor(() => Promise.any(daemons.map(async ({ current }) => current.url)));
    await sleep(random() * 500);
    kill(victim);
    await killing;
  }
}

/** Calls one daemon or the other until one answers. */
function ask(path: string, body?: unknown, method?: string) {
  return waitFor(
    async () => {
      const daemon = daemons[randomInteger(random, 0, 1)]!;
      const answer = await daemon.current.api(path, body, method);
      expect(answer.status).toBeLessThan(300);
      return answer;
    },
    { everyMs: 20, describe: `an answer to ${path}` },
  );
}

async function batchOf(name: string) {
  return (await ask(`/v1/batches/${name}`)).body;
}

function end(at: number): void {
  noxus.setStatus(runs[at]!, ends[at]!);
}

/** A client that makes runs join two batches while they end, and repeats what is not answered. */
async function useBatches(): Promise<void> {
  await ask('/v1/batches/nightly', { max_failed: MAX_FAILED }, 'PUT');
  await ask('/v1/batches/counted', { expected: EXPECTED }, 'PUT');
  const [last, lastCounted] = [RUNS - 1, EXPECTED - 1];
  const places = runs.map((_, at) => at);
  for (const some of chunksOf(places, EACH_CALL)) {
    const watches = some.map((at) => ({ run_id: runs[at] }));
    await waitFor(async () => {
      const { body } = await ask('/v1/watches/batch', { watches, batch: 'nightly', open: true });
      return body.results.every(({ status }: { status: number }) => status < 300);
    });
    // Neither batch completes before all of its runs have joined: one that joins later begins another.
    for (const at of some) if (at !== last && at !== lastCounted) end(at);
  }
  for (const at of places.slice(0, EXPECTED)) {
    await ask('/v1/watches', { run_id: runs[at], batch: 'counted' });
  }
  end(lastCounted);
  await ask('/v1/batches/nightly/close', {});
  end(last);
}

async function eventsOf(type: string): Promise<OwnEvent[]> {
  return (await ask(`/v1/events?type=${type}`)).body.data;
}

/** How many runs have each end, and which of them failed. */
function outcomeOf(places: string[]) {
  const by_status: Record<string, number> = {};
  for (const status of places) by_status[status] = (by_status[status] ?? 0) + 1;
  const failed = runs.filter((_, at) => at < places.length && ends[at] === 'failed').toSorted();
  return { total: places.length, by_status, failed };
}

describe('batches of two daemons that are killed while runs join, end, and the batches complete', () => {
  test('each batch has one event for its completion, and one for too many failures where it has a limit', async () => {
    const completed = await eventsOf('batch.completed');
    const failed = await eventsOf('batch.failed');
    expect(
      completed.map(({ data }) => [data['batch'], data['reason']].join(' ')).toSorted(),
    ).toEqual(['counted expected', 'nightly closed']);
    expect(failed.map(({ data }) => [data['batch'], data['max_failed']])).toEqual([
      ['nightly', MAX_FAILED],
    ]);
    expect((await ask('/v1/batches')).body.data).toHaveLength(2);
  });

  test('the counts of a batch add up to its runs, in the API and in its event', async () => {
    const expected = { nightly: outcomeOf(ends), counted: outcomeOf(ends.slice(0, EXPECTED)) };
    const events = await eventsOf('batch.completed');
    for (const [name, outcome] of Object.entries(expected)) {
      const data = events.find((event) => event.data['batch'] === name)?.data;
      for (const shown of [await batchOf(name), data]) {
        const { total, by_status, failed } = shown;
        expect({ name, total, by_status, failed: failed.toSorted() }).toEqual({ name, ...outcome });
      }
    }
    const [failure] = await eventsOf('batch.failed');
    const namedFailed = (failure?.data['failed'] ?? []) as string[];
    expect(namedFailed.length).toBeGreaterThan(MAX_FAILED);
  });

  test('the receiver gets each event of a batch under one id with one body, however often it is sent', async () => {
    const listed = [...(await eventsOf('batch.completed')), ...(await eventsOf('batch.failed'))];
    const sent = receiver.received.filter(({ type }) => type?.startsWith('batch.'));
    expect(sent.map(({ problem }) => problem)).toEqual(sent.map(() => null));
    const ids = listed.map(({ id }) => id).toSorted();
    expect([...new Set(sent.map(({ id }) => String(id)))].toSorted()).toEqual(ids);
    expect(new Set(sent.map(({ body }) => body)).size).toBe(ids.length);
  });

  test('each run has one event for its end', () => {
    const sent = receiver.received.filter(({ type }) => /^run\.(comp|fail|stop)/.test(type ?? ''));
    const named = sent.map(({ id, type, body }) => `${JSON.parse(body).data.run_id} ${type} ${id}`);
    const runEnds = [...new Set(named)].map((name) => name.split(' ').slice(0, 2).join(' '));
    expect(runEnds.toSorted()).toEqual(runs.map((id, at) => `${id} run.${ends[at]}`).toSorted());
  });
});
