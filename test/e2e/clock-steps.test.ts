import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const RETRY = ['1s', ...Array(49).fill('2s')];

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

async function startNoxus(): Promise<Simulator> {
  const noxus = await startSimulator();
  opened.push(() => noxus.close());
  return noxus;
}

/** A receiver that refuses what is about some runs. */
async function startHooks(refused: ReadonlySet<string>): Promise<Receiver> {
  const respond = ({ body }: { body: string }) => {
    const { data } = JSON.parse(body) as { data: { run_id: string } };
    return { status: refused.has(data.run_id) ? 500 : 204 };
  };
  const receiver = await startReceiver({ secrets: [SECRET], respond });
  opened.push(() => receiver.close());
  return receiver;
}

/** The same to every script as another time of Redis. */
const SET_TIME = `
local offset, highest, steps = string.match(redis.call('GET', KEYS[1]), '^(-?%d+) (%d+) (%d+)$')
redis.call('SET', KEYS[1], string.format('%.0f %s %s', offset + ARGV[1], highest, steps))
`;

test('every retry goes out although the clock of Redis steps a day on and back, 40 days on, and an hour back', async () => {
  /** Few of the runs: the others keep the circuit breaker closed. */
  const refused = new Set<string>();
  const noxus = await startNoxus();
  const receiver = await startHooks(refused);
  const place = testRedis();
  const stores = openStores(place);
  opened.push(async () => stores.close());
  const dataDir = await mkdtemp(join(tmpdir(), 'runwatch-steps-'));
  opened.push(() => rm(dataDir, { recursive: true }));
  const hooks = { type: 'webhook', url: receiver.url, secret: SECRET, default: true };
  const daemon = await startInside({
    data_dir: dataDir,
    redis: place,
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        rate_limit: { requests: 1_000, per: '1s' },
      },
    },
    polling: { min_interval: '50ms', max_interval: '200ms', lists: 'off' },
    endpoints: { hooks: { ...hooks, retry: RETRY } },
  });
  opened.push(() => daemon.stop());
  const setTime = (byMs: number) => stores.redis.eval(SET_TIME, 1, stores.keys.clock, byMs);
  const stepsTakenOut = () =>
    daemon.lines.filter((line) => line.includes('"clock.set_forward"')).length;

  const ids: string[] = [];
  /** Has runs end, and waits until each delivery was attempted. */
  const endSome = async () => {
    const runs = Array.from({ length: 12 }, () => {
      return noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] }).id;
    });
    for (const id of runs.slice(10)) refused.add(id);
    await fetch(`${daemon.url}/v1/watches/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ watches: runs.map((run_id) => ({ run_id })) }),
    });
    await waitFor(() =>
      runs.every((id) => receiver.received.some(({ body }) => body.includes(id))),
    );
    ids.push(...runs);
  };

  await endSome();
  await setTime(DAY);
  await waitFor(() => stepsTakenOut() === 1);
  await endSome();
  await setTime(-DAY);
  await endSome();
  await setTime(40 * DAY);
  await waitFor(() => stepsTakenOut() === 2);
  await endSome();
  await setTime(-HOUR);
  await endSome();
  refused.clear();
  await waitFor(
    async () => {
      const { planned, byState } = await stores.deliveries.counts();
      return planned === ids.length && byState.delivered === planned;
    },
    { describe: 'all retries to be delivered' },
  );
  expect(stepsTakenOut()).toBe(2);
});
