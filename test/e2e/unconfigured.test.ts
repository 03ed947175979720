import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import type { WatchKey } from '../../src/core/watch/watch.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { eventsOf, watchOf } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const place = testRedis();
const { url: redisUrl, prefix } = place;
const stores = openStores(place);

let noxus: Simulator;
let ops: Receiver;
let failing: Receiver;
let daemon: DaemonProcess;
/** Of the source that is removed: one that is to become unreachable, and one that is to expire. */
let lost: string;
let expiring: string;
/** Of the source that remains, with a delivery that waits for the endpoint that is removed. */
let kept: string;

function configOf(sources: string[], endpoints: Record<string, string>): Record<string, unknown> {
  const source = { base_url: noxus.url, api_key: noxus.apiKey };
  return {
    redis: { prefix },
    sources: Object.fromEntries(sources.map((name) => [name, source])),
    polling: { unreachable_after: '1s' },
    endpoints: Object.fromEntries(
      Object.entries(endpoints).map(([name, url]) => [
        name,
        { type: 'webhook', url, retry: ['30d'] },
      ]),
    ),
  };
}

const start = (config: Record<string, unknown>) =>
  startDaemonProcess({ env: { REDIS_URL: redisUrl }, config });

/** Starts it again, as if no daemon had had the removed source for long. */
async function restart(): Promise<void> {
  await stopAll([daemon]);
  const redis = new Redis(redisUrl);
  expect(await redis.hset(`{${prefix}}:source-names`, 'old', 1)).toBe(0);
  redis.disconnect();
  daemon = await start(configOf(['prod'], { ops: ops.url }));
}

/** Sets back when a watch expires, however long the machine took to come this far. */
async function endTimeOf(key: WatchKey): Promise<void> {
  await waitFor(async () => {
    const before = await stores.watches.get(key);
    const after = { ...before!.watch, timeoutAt: Date.now() };
    return stores.watches.commit({ before, after, events: [], deliveries: [] });
  });
}

beforeAll(async () => {
  noxus = await startSimulator();
  [ops, failing] = await Promise.all([
    startReceiver({ secrets: [] }),
    startReceiver({ secrets: [], respond: () => 500 }),
  ]);
  daemon = await start(configOf(['prod', 'old'], { ops: ops.url, 'old-ops': failing.url }));
  const aRun = () => noxus.add({ steps: [{ after_ms: 0, status: 'awaiting_human_feedback' }] }).id;
  [lost, expiring, kept] = [aRun(), aRun(), aRun()];
  const watches = [
    { run_id: lost, source: 'old', endpoints: ['ops'] },
    { run_id: expiring, source: 'old', endpoints: ['ops'] },
    { run_id: kept, source: 'prod', endpoints: ['ops', 'old-ops'] },
  ];
  const { body } = await daemon.api('/v1/watches/batch', { watches });
  expect(body.results.map(({ status }: { status: number }) => status)).toEqual([201, 201, 201]);
  await waitFor(() => failing.received.length === 1 && ops.received.length === 3);
  await restart();
});

afterAll(async () => {
  await stopAll([daemon]);
  await stores.close();
  await Promise.all([ops, failing, noxus].map((server) => server.close()));
});

describe('source and endpoint that are not configured any more', () => {
  test('the start warns of a removed source and endpoint, with their watches and deliveries', async () => {
    const warning = () => daemon.log().find(({ msg }) => msg.startsWith('unconfigured: '));
    await waitFor(() => warning() !== undefined);
    expect(warning()).toMatchObject({
      level: 'warn',
      sources: [{ name: 'old', count: 2 }],
      endpoints: [{ name: 'old-ops', count: 1 }],
    });
    expect(warning()?.msg).toContain('runwatch redeliver --endpoint old-ops --to');
  });

  test('a removed source or endpoint degrades readiness without failing it', async () => {
    const answer = await fetch(`${daemon.url}/readyz`);
    expect(answer.status).toBe(200);
    const lines = (await answer.text()).split('\n').filter((line) => line.startsWith('degraded '));
    expect(lines.join('\n')).toMatch(/source named old .* active watch.* not polled/);
    expect(lines.join('\n')).toMatch(/endpoint named old-ops .* 1 delivery waits/);
  });

  test('endpoints lists a removed endpoint with its pending deliveries', async () => {
    const { body } = await daemon.api('/v1/endpoints');
    expect(body.data).toContainEqual(
      expect.objectContaining({
        name: 'old-ops',
        type: 'unconfigured',
        counts: expect.objectContaining({ pending: 1 }),
      }),
    );
  });

  test('unwatch --endpoint ends the subscription of a removed endpoint', async () => {
    const env = { RUNWATCH_URL: daemon.url };
    const { exitCode, stdout } = await runBuiltCli(['unwatch', kept, '--endpoint', 'old-ops'], env);
    expect([exitCode, stdout]).toEqual([0, `no longer watched ${kept} for old-ops\n`]);
    expect((await watchOf(daemon, kept)).subscriptions).toMatchObject([{ endpoint: 'ops' }]);
  });

  test('redeliver --to sends the deliveries of a removed endpoint elsewhere', async () => {
    const args = ['redeliver', '--endpoint', 'old-ops', '--to', 'ops', '--yes'];
    const { exitCode, stdout } = await runBuiltCli(args, { RUNWATCH_URL: daemon.url });
    expect([exitCode, stdout]).toEqual([0, '1 delivery goes out again\n']);
    const ofKept = () => ops.received.filter(({ body }) => body.includes(kept));
    await waitFor(() => ofKept().length === 2);
    expect(new Set(ofKept().map(({ id }) => id)).size).toBe(1);
    const readyz = await (await fetch(`${daemon.url}/readyz`)).text();
    expect(readyz).not.toContain('old-ops');
  });

  test('watches of a removed source become unreachable and expire, with events', async () => {
    const oldWatch = async (runId: string) =>
      (await daemon.api(`/v1/watches/${runId}?source=old`)).body;
    await waitFor(async () => {
      const { error } = await oldWatch(lost);
      return error !== null && Date.now() - Date.parse(error.since) > 1_100;
    });
    await endTimeOf({ source: 'old', runId: expiring });
    await restart();
    const typesOf = (runId: string) =>
      ops.received.filter(({ body }) => body.includes(runId)).map(({ type }) => type);
    await waitFor(() => typesOf(lost).length === 2 && typesOf(expiring).includes('watch.expired'));
    expect(typesOf(lost)).toEqual(['run.awaiting_human_feedback', 'watch.unreachable']);
    // On a quick machine it is unreachable before its time is over.
    expect(typesOf(expiring).filter((type) => type !== 'watch.unreachable')).toEqual([
      'run.awaiting_human_feedback',
      'watch.expired',
    ]);
    expect(await eventsOf(daemon, lost)).toHaveLength(2);
    const { error } = await oldWatch(lost);
    expect(error.message).toBe('no source named old is configured any more');
  });
});
