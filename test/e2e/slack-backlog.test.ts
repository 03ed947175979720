import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sum } from '../../src/core/arrays.ts';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { newWatch } from '../support/builders.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { isWork } from '../support/kill-scenario.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { sampleEvent } from '../support/sample-events.ts';
import { startService, type Service } from '../support/services/service.ts';
import { SLACK_WEBHOOK } from '../support/services/slack.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const RUNS = 300;

const FOLDED = '/services/T0/B0/folded';
const KILLED = '/services/T0/B0/killed';
const EACH = '/services/T0/B0/each';

let redis: PrivateRedis;
let stores: ReturnType<typeof openStores>;
let daemons: DaemonProcess[] = [];
let slack: Service;

/** A process sends so many messages to one endpoint side by side. */
const SLOTS = 4;

/** Paths that get no answer for now. */
const held = new Set<string>();

/** How many events each message covered, by the path that it came to. */
const told = new Map<string, number[]>();

const countsAt = (path: string) => told.get(path) ?? [];
const sumAt = (path: string) => sum(countsAt(path));

/** `142 runs of invoices failed`, or the title of one run. */
function eventsIn(title: string): number {
  return Number(/^(\d+) runs /.exec(title)?.[1] ?? 1);
}

beforeAll(async () => {
  slack = await startService(SLACK_WEBHOOK);
  slack.answerBy(async (request) => {
    const { path, body } = request;
    told.set(path, [...countsAt(path), eventsIn(String(body['text']))]);
    await waitFor(() => !held.has(path), { everyMs: 20 });
    await delay(150);
    return SLACK_WEBHOOK.take(request);
  });
  redis = await startPrivateRedis({ aof: true });
  stores = openStores({ url: redis.url, prefix: 'runwatch' });
  const chat = (path: string) => ({ type: 'slack', url: slack.url + path, events: ['run.failed'] });
  const options = {
    env: {
      REDIS_URL: `unix://${redis.url}`,
      RUNWATCH_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
    },
    config: {
      sources: { default: { base_url: 'http://127.0.0.1:9', api_key: 'none' } },
      endpoints: {
        folded: chat(FOLDED),
        killed: chat(KILLED),
        each: { ...chat(EACH), fold: false, rate: 1_000 },
      },
    },
  };
  daemons = await Promise.all([startDaemonProcess(options), startDaemonProcess(options)]);
});

afterAll(async () => {
  await stopAll(daemons);
  await stores.close();
  await slack.close();
  await redis.stop();
  expect(slack.refusals).toEqual([]);
});

/** Observes so many failures, one after another. */
async function failRuns(endpoint: string, whileUnderWay = async () => {}): Promise<void> {
  const subscriptions = [{ kind: 'endpoint' as const, endpoint }];
  for (let at = 0; at < RUNS; at += 1) {
    const id = `evt_${endpoint}_${at}`;
    const watch = newWatch({ runId: `${endpoint}-${at}`, state: 'finished', subscriptions });
    const { timestamp, data } = sampleEvent('run.failed');
    const event = { id, type: 'run.failed', timestamp, data } as unknown as RunwatchEvent;
    const deliveries = planDeliveries(watch, [{ id, type: 'run.failed' }], subscriptions, {
      wants: () => true,
      now: Date.now(),
    });
    await stores.watches.commit({ before: null, after: watch, events: [event], deliveries });
    if (at === RUNS / 2) await whileUnderWay();
  }
}

async function delivered(endpoint: string): Promise<number> {
  return (await stores.deliveries.counts()).byEndpoint.get(endpoint)?.delivered ?? 0;
}

async function untilDelivered(endpoint: string): Promise<void> {
  await waitFor(async () => (await delivered(endpoint)) === RUNS, {
    describe: `${RUNS} deliveries to ${endpoint}`,
  });
}

test('300 failures while a Slack URL is slow to answer reach it in at most 6 messages', async () => {
  held.add(FOLDED);
  await failRuns('folded');
  held.delete(FOLDED);
  await untilDelivered('folded');
  expect(sumAt(FOLDED)).toBe(RUNS);
  expect(countsAt(FOLDED).length).toBeLessThanOrEqual(SLOTS + 2);
});

test('300 failures are 300 messages where an endpoint does not fold', async () => {
  await failRuns('each');
  await untilDelivered('each');
  expect(countsAt(EACH)).toEqual(Array.from({ length: RUNS }, () => 1));
});

test('kill -9 during notifications of failures loses none, and repeats at most what was under way', async () => {
  const [victim] = daemons;
  await failRuns('killed', async () => {
    await victim?.stop('SIGKILL');
  });
  await untilDelivered('killed');
  const leftovers = async () => (await stores.keysLeft()).filter(isWork);
  await waitFor(async () => (await leftovers()).length === 0, {
    describe: 'nothing to be left to do',
  });
  const largest = countsAt(KILLED).toSorted((a, b) => b - a);
  expect(sumAt(KILLED) - RUNS).toBeLessThanOrEqual(sum(largest.slice(0, SLOTS)));
  expect(sumAt(KILLED)).toBeGreaterThanOrEqual(RUNS);
});
