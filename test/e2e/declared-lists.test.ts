import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { Airflow } from '../support/apis/airflow.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const EXAMPLE = join(import.meta.dirname, '../../config/examples/sources/airflow.yaml');
const { url: redisUrl, prefix } = testRedis();

let airflow: Airflow;
let receiver: Receiver;
let daemon: DaemonProcess;
const daemons: DaemonProcess[] = [];

/** Starts a daemon with the example of Airflow, which discovers the runs of its list. */
async function start(): Promise<DaemonProcess> {
  const { sources } = parse(await readFile(EXAMPLE, 'utf8')) as {
    sources: { airflow: object };
  };
  const started = await startDaemonProcess({
    env: {
      REDIS_URL: redisUrl,
      AIRFLOW_URL: airflow.url,
      AIRFLOW_TOKEN: airflow.issueToken(),
    },
    config: {
      redis: { prefix },
      sources: {
        airflow: {
          ...sources.airflow,
          discover: { every: '500ms' },
          rate_limit: { requests: 1_000, per: '1s' },
          timeout: '60s',
        },
      },
      polling: { min_interval: '250ms', max_interval: '2s' },
      endpoints: {
        hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['run.*'] },
      },
      delivery: { per_endpoint: 64 },
    },
  });
  daemons.push(started);
  return started;
}

beforeAll(async () => {
  airflow = await new Airflow().listen();
  receiver = await startReceiver({ secrets: [SECRET] });
  daemon = await start();
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([airflow.close(), receiver.close()]);
});

const isList = ({ path }: { path: string }) => path.endsWith('/~/dagRuns');
const pages = () => airflow.requests.filter(isList).length;
const singles = () => airflow.requests.filter((request) => !isList(request)).length;

const trigger = (count: number, dag = 'daily.report') =>
  Array.from({ length: count }, () => airflow.trigger(dag));

/** The ids of the signed events of each type, by the run, and how many webhooks were read for them. */
const byType = new Map<string, Map<string, Set<string>>>();
let read = 0;

/** The ids of the signed events of a type, by the run. */
function received(type: string): ReadonlyMap<string, ReadonlySet<string>> {
  for (; read < receiver.received.length; read += 1) {
    const { id, body, problem } = receiver.received[read]!;
    expect(problem).toBeNull();
    const event = JSON.parse(body) as RunwatchEvent;
    const byRun = byType.get(event.type) ?? new Map<string, Set<string>>();
    const ids = byRun.get(event.data.run_id) ?? new Set();
    byType.set(event.type, byRun.set(event.data.run_id, ids.add(String(id))));
  }
  return byType.get(type) ?? new Map();
}

/** Waits until each of these runs was notified of as completed. */
const untilCompleted = (runIds: readonly string[]) =>
  waitFor(() => runIds.every((id) => received('run.completed').has(id)), {
    describe: () => `${received('run.completed').size} runs to be told as completed`,
  });

/** Waits for the next pass over the list, so that what is there counts as old. */
async function untilRead(): Promise<void> {
  const before = pages();
  await waitFor(() => pages() > before + 1);
}

test('a run that was not registered is discovered, and its end is told by a signed webhook', async () => {
  await untilRead();
  const [id = ''] = trigger(1);
  await waitFor(async () => {
    const { body } = await daemon.api<{ data: { run_id: string }[] }>('/v1/watches');
    return body.data.some(({ run_id }) => run_id === id);
  });
  airflow.setState(id, 'success');
  await untilCompleted([id]);
  const event = receiver.received
    .map(({ body }) => JSON.parse(body) as RunwatchEvent)
    .find(({ type }) => type === 'run.completed');
  expect(event?.data).toMatchObject({
    run_id: id,
    workflow_name: 'daily.report',
    run: { status: 'completed', source_status: 'success', workflow_id: 'daily.report' },
    watch: { source: 'airflow' },
  });
});

test('300 runs that go on cost a few pages, and their ends one read each', async () => {
  const runIds = Array.from({ length: 6 }, (_, at) => trigger(50, `dag-${at}`)).flat();
  for (const id of runIds) airflow.setState(id, 'running');
  await waitFor(
    async () => {
      const { body } = await daemon.api<{ total: number }>('/v1/watches?status=running');
      return body.total === runIds.length;
    },
    { describe: () => '300 runs to be read' },
  );
  let rest = { pages: 0, singles: Infinity };
  await waitFor(
    async () => {
      const before = { pages: pages(), singles: singles() };
      await waitFor(() => pages() >= before.pages + 9);
      rest = { pages: pages() - before.pages, singles: singles() - before.singles };
      return rest.singles < rest.pages;
    },
    { describe: () => `single reads to come to rest: ${rest.singles} of ${rest.pages} pages` },
  );
  const before = singles();
  for (const id of runIds) airflow.setState(id, 'success');
  await untilCompleted(runIds);
  expect(singles() - before).toBeGreaterThanOrEqual(runIds.length);
  expect(singles() - before).toBeLessThan(1.2 * runIds.length);
});

test('a daemon that is killed while it discovers runs loses none, and tells each end by one id', async () => {
  await untilRead();
  const runIds = trigger(230, 'nightly');
  const before = pages();
  await waitFor(() => pages() > before);
  await daemon.stop('SIGKILL');
  const later = trigger(20, 'nightly');
  daemon = await start();
  const all = [...runIds, ...later];
  await waitFor(
    async () => {
      const { body } = await daemon.api<{ total: number }>('/v1/watches?workflow_id=nightly');
      return body.total === all.length;
    },
    { describe: () => `${all.length} runs to be discovered` },
  );
  for (const id of all) airflow.setState(id, 'success');
  await waitFor(() => all.filter((id) => received('run.completed').has(id)).length >= 50);
  await daemon.stop('SIGKILL');
  daemon = await start();
  await untilCompleted(all);
  const ends = received('run.completed');
  expect(all.map((id) => [id, ends.get(id)?.size])).toEqual(all.map((id) => [id, 1]));
});
