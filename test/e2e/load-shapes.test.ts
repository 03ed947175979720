import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { newWatch } from '../support/builders.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { isWork } from '../support/kill-scenario.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

const BURST = 200;
const BACKLOG = 120;

let redis: PrivateRedis;
let stores: ReturnType<typeof openStores>;
let daemons: DaemonProcess[] = [];

/** A receiver that counts what is in flight, and answers as `answer` says at the time. */
async function startCounted(answer: () => { status: number; delayMs: number }) {
  const accepted: string[] = [];
  const flight = { now: 0, peak: 0 };
  const receiver: Receiver = await startReceiver({
    secrets: [SECRET],
    respond({ id }) {
      const given = answer();
      flight.now += 1;
      flight.peak = Math.max(flight.peak, flight.now);
      setTimeout(() => (flight.now -= 1), given.delayMs);
      if (given.status === 204) accepted.push(id ?? '');
      return given;
    },
  });
  return { accepted, flight, url: receiver.url, close: () => receiver.close() };
}

let isMended = false;
let burst: Awaited<ReturnType<typeof startCounted>>;
let backlog: typeof burst;

beforeAll(async () => {
  redis = await startPrivateRedis({ aof: true });
  stores = openStores({ url: redis.url, prefix: 'runwatch' });
  burst = await startCounted(() => ({ status: 204, delayMs: 100 }));
  backlog = await startCounted(() =>
    isMended ? { status: 204, delayMs: 20 } : { status: 503, delayMs: 0 },
  );
  const retry = Array.from({ length: 40 }, () => '500ms');
  const hook = (url: string) => ({ type: 'webhook', url, secret: SECRET, events: ['*'], retry });
  const options = {
    env: {
      REDIS_URL: `unix://${redis.url}`,
      RUNWATCH_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
    },
    config: {
      sources: { default: { base_url: 'http://127.0.0.1:9', api_key: 'none' } },
      endpoints: { burst: hook(burst.url), backlog: hook(backlog.url) },
    },
  };
  daemons = await Promise.all([startDaemonProcess(options), startDaemonProcess(options)]);
});

afterAll(async () => {
  await stopAll(daemons);
  await stores.close();
  await Promise.all([burst.close(), backlog.close()]);
  await redis.stop();
});

/** Ends so many runs, with one endpoint subscribed to each; returns the ids of the events. */
async function endRuns(endpoint: 'burst' | 'backlog', count: number): Promise<string[]> {
  const subscriptions = [{ kind: 'endpoint' as const, endpoint }];
  const ids = Array.from({ length: count }, (_, at) => `evt_${endpoint}_${at}`);
  await Promise.all(
    ids.map(async (id, at) => {
      const watch = newWatch({ runId: `${endpoint}-${at}`, state: 'finished', subscriptions });
      const about = { source: watch.source, metadata: {}, registered_at: new Date().toISOString() };
      const event = {
        id,
        type: 'run.failed',
        data: { run_id: watch.runId, run: null, watch: about },
      } as RunwatchEvent;
      const deliveries = planDeliveries(watch, [{ id, type: 'run.failed' }], subscriptions, {
        wants: () => true,
        now: Date.now(),
      });
      await stores.watches.commit({ before: null, after: watch, events: [event], deliveries });
    }),
  );
  return ids;
}

const repeats = ({ accepted }: typeof burst) => accepted.length - new Set(accepted).size;

test('kill -9 during a burst and a backlog loses no event, and leaves no slot and no probe', async () => {
  const waiting = await endRuns('backlog', BACKLOG);
  await waitFor(async () => (await stores.deliveries.counts()).byState.parked > BACKLOG / 2, {
    describe: 'the breaker to open',
  });
  isMended = true;
  const ended = await endRuns('burst', BURST);
  const [victim, other] = daemons;
  await other?.api('/v1/endpoints/backlog/retry', {});
  const isInTheMiddle = () =>
    burst.accepted.length > BURST / 4 && backlog.accepted.length > BACKLOG / 8;
  await waitFor(isInTheMiddle, { describe: 'both to be under way' });
  const [held] = await Promise.all([
    stores.redis.hlen(stores.keys.deliveryClaims),
    victim?.stop('SIGKILL'),
  ]);

  const leftovers = async () => (await stores.keysLeft()).filter(isWork);
  await waitFor(async () => (await leftovers()).length === 0, {
    describe: () => `nothing to be left to do of ${held} claims`,
  });
  const { planned, byState } = await stores.deliveries.counts();
  expect([planned, byState.delivered]).toEqual([BURST + BACKLOG, BURST + BACKLOG]);
  expect(new Set(burst.accepted)).toEqual(new Set(ended));
  expect(new Set(backlog.accepted)).toEqual(new Set(waiting));
  // What was under way when the process was killed may come twice: at the receiver, or with its answer not
  // written yet.
  expect(repeats(burst)).toBeLessThanOrEqual(2 * burst.flight.peak);
  expect(repeats(backlog)).toBeLessThanOrEqual(2 * backlog.flight.peak);
  expect(burst.flight.peak).toBeGreaterThan(4);
});
