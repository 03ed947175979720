import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from '@jest/globals';
import { startReceiver, type ReceivedWebhook } from '../../src/simulator/receiver.ts';
import { randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { tempDir } from '../support/daemon-process.ts';
import { startKillableDaemon, type KillableDaemon } from '../support/killable-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const FAILURES = 500;
const INTERVAL_MS = 3_000;
/** Two processes that are busy know the store's clock to within this time. */
const CLOCK_ERROR_MS = 500;
const KILLS = 4;
const WORKFLOW = randomUUID();

interface AlertBody {
  id: string;
  type: string;
  timestamp: string;
  data: { alert: { id: string; count: number; state: string; runs: unknown[] }; repeat: boolean };
}

const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

function bodyOf({ body }: ReceivedWebhook): AlertBody {
  return JSON.parse(body) as AlertBody;
}

/** Calls the API of whichever process answers, again until one does. */
async function ask<Answer>(daemons: KillableDaemon[], path: string, body?: unknown) {
  return waitFor(
    async () => {
      for (const { current } of daemons) {
        const answer = await current.api<Answer>(path, body).catch(() => null);
        if (answer !== null && answer.status < 300) return answer.body;
      }
      return null;
    },
    { describe: `an answer to ${path}` },
  );
}

test('500 failures of a workflow are one alert with right notifications, however processes are killed', async () => {
  const random = seededRandom(7);
  const noxus = await startSimulator();
  closers.push(() => noxus.close());
  const received: ReceivedWebhook[] = [];
  const receiver = await startReceiver({
    secrets: [SECRET],
    respond(webhook) {
      received.push(webhook);
      return 204;
    },
  });
  closers.push(() => receiver.close());
  const dataDir = await tempDir();
  closers.push(() => rm(dataDir, { recursive: true, force: true }));
  const retry = Array.from({ length: 30 }, () => '300ms');
  const rate = { requests: 10_000, per: '1s' };
  const config = {
    sources: { default: { base_url: noxus.url, api_key: noxus.apiKey, rate_limit: rate } },
    polling: { min_interval: '100ms', max_interval: '1s' },
    endpoints: {
      log: { type: 'log', default: true },
      chat: { type: 'webhook', url: receiver.url, secret: SECRET, retry },
    },
    rules: [
      {
        name: 'failed-runs',
        events: ['run.failed'],
        notify: ['chat'],
        group_wait: '1s',
        group_interval: `${INTERVAL_MS}ms`,
      },
    ],
  };
  const first = await startKillableDaemon({ dataDir, config });
  closers.push(() => first.stop());
  await first.current.ready();
  const daemons = [first, await startKillableDaemon({ dataDir, config })];
  closers.push(() => daemons[1]?.stop() ?? Promise.resolve());

  const ids: string[] = [];
  for (let run = 0; run < FAILURES; run += 1) {
    const { id } = noxus.add({
      workflow_id: WORKFLOW,
      starts: 'when_read',
      steps: [
        { after_ms: 0, status: 'running' },
        { after_ms: randomInteger(random, 500, 8_000), status: 'failed' },
      ],
    });
    ids.push(id);
  }
  await ask(daemons, '/v1/watches/batch', { watches: ids.map((id) => ({ run_id: id })) });
  for (let kill = 0; kill < KILLS; kill += 1) {
    await sleep(randomInteger(random, 500, 2_500));
    await daemons[kill % daemons.length]?.kill();
  }
  const firing = await waitFor(
    async () => {
      const page = await ask<{ data: AlertBody['data']['alert'][] }>(daemons, '/v1/alerts');
      return page.data.find(({ count }) => count === FAILURES);
    },
    { describe: 'an alert with all failures' },
  );

  const { id } = noxus.add({
    workflow_id: WORKFLOW,
    steps: [{ after_ms: 0, status: 'completed' }],
  });
  await ask(daemons, '/v1/watches', { run_id: id });
  const told = () => [...new Map(received.map((one) => [one.id, bodyOf(one)])).values()];
  await waitFor(() => told().some(({ type }) => type === 'alert.resolved'), {
    describe: 'alert.resolved',
  });

  const types = told().map(({ type }) => type);
  expect(types[0]).toBe('alert.firing');
  expect(types.filter((type) => type === 'alert.firing')).toHaveLength(1);
  expect(types.filter((type) => type === 'alert.resolved')).toHaveLength(1);
  expect(types.at(-1)).toBe('alert.resolved');
  const last = told().at(-1)?.data.alert;
  expect(last).toMatchObject({ id: firing.id, count: FAILURES, state: 'resolved' });
  expect(last?.runs).toHaveLength(5);
  expect(new Set(told().map(({ data }) => data.alert.id)).size).toBe(1);
  const at = told()
    .slice(0, -1)
    .map(({ timestamp }) => Date.parse(timestamp));
  const gaps = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  expect(Math.min(...gaps, INTERVAL_MS)).toBeGreaterThan(INTERVAL_MS - CLOCK_ERROR_MS);
  expect(received.every(({ verified }) => verified)).toBe(true);
});
