import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { bareSource, LISTS, type BareSource } from '../support/bare-source.ts';
import { tempDir } from '../support/daemon-process.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

/*
 * A source without lists, streams, names, a probe and a stop of runs. A request that it does not take would
 * throw, and be logged as a fault.
 */

const ids = (name: string, count: number) =>
  Array.from({ length: count }, (_, at) => `${name}-${at + 1}`);

let source: BareSource;
let receiver: Receiver;
let daemon: Awaited<ReturnType<typeof startInside>>;
let config: Config;
let dataDir: string;

beforeEach(() => {
  source = bareSource();
});

async function start(requestsPerSecond = 1_000, discover?: object): Promise<void> {
  receiver = await startReceiver({ secrets: [] });
  dataDir = await tempDir();
  const { url, prefix } = testRedis();
  const settings = {
    data_dir: dataDir,
    redis: { url, prefix },
    sources: {
      ci: {
        base_url: 'http://127.0.0.1:1',
        api_key: 'key of before',
        rate_limit: { requests: requestsPerSecond, per: '1s' },
        discover,
      },
    },
    polling: { min_interval: '250ms', max_interval: '250ms', gone_after: '500ms' },
    endpoints: { hooks: { type: 'webhook', url: receiver.url } },
  };
  config = configSchema.parse(settings);
  daemon = await startInside(settings, { kindOf: source.kindOf });
}

afterEach(async () => {
  await daemon.stop();
  await receiver.close();
  await rm(dataDir, { recursive: true });
});

async function watch(runIds: readonly string[]): Promise<void> {
  const response = await fetch(`${daemon.url}/v1/watches/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ watches: runIds.map((run_id) => ({ run_id })) }),
  });
  const { results } = (await response.json()) as { results: { status: number }[] };
  expect(results.map(({ status }) => status)).toEqual(runIds.map(() => 201));
}

const watchOf = async (runId: string) => {
  const response = await fetch(`${daemon.url}/v1/watches/${runId}`);
  return (await response.json()) as { state: string; polls: number };
};

/** The runs of which the receiver got an event of a type. */
const notifiedOf = (type: string) =>
  receiver.received
    .map(({ body }) => JSON.parse(body) as { type: string; data: { run_id: string } })
    .filter((event) => event.type === type)
    .map(({ data }) => data.run_id);

/** What went wrong in the daemon itself, by its log. */
const faults = () =>
  daemon.lines
    .map((line) => JSON.parse(line) as { level: number; error?: unknown })
    .filter(({ level, error }) => level >= 40 && typeof error === 'string');

test.each([
  // Names, streams and discovery have requests to spare.
  { runs: 8, requests: 1_000, polls: 40 },
  // A list would be worth while.
  { runs: 40, requests: 20, polls: 6 },
])(
  '$runs runs of a source without lists, streams and names are polled and notified within $requests requests a second, and nothing else is requested',
  async ({ runs, requests, polls }) => {
    await start(requests, { workflows: 'all', every: '100ms' });
    const runIds = ids('job', runs);
    for (const id of runIds) source.runs.set(id, { status: 'running', workflow_id: 'w' });
    await watch(runIds);
    await waitFor(async () => (await watchOf('job-1')).polls >= polls);
    for (const id of runIds) source.runs.set(id, { status: 'completed', workflow_id: 'w' });
    await waitFor(() => notifiedOf('run.completed').length === runIds.length);
    expect(new Set(notifiedOf('run.completed'))).toEqual(new Set(runIds));
    expect(new Set(source.reads)).toEqual(new Set(runIds));
    expect(faults()).toEqual([]);
  },
);

test.each([false, true])(
  'lists of a source that stand in for polls as its traits say (%p) are read for them or not at all',
  async (standIn) => {
    source = bareSource({ ...LISTS, standIn });
    // A list would be worth while.
    await start(20);
    const runIds = ids('job', 40);
    for (const id of runIds) source.runs.set(id, { status: 'running', workflow_id: 'w' });
    await watch(runIds);
    if (standIn) await waitFor(() => source.pages.length > 0);
    else await waitFor(async () => (await watchOf('job-1')).polls >= 6);
    expect(source.pages.length > 0).toBe(standIn);
    expect(faults()).toEqual([]);
  },
);

test('of a source whose workflows have no lists of their own, its list alone is read', async () => {
  source = bareSource({ ...LISTS, byWorkflow: false });
  await start(20);
  const runIds = ids('job', 40);
  for (const id of runIds) source.runs.set(id, { status: 'running', workflow_id: 'w' });
  await watch(runIds);
  await waitFor(() => source.pages.length >= 3);
  expect(new Set(source.pages.map(({ workflowId }) => workflowId))).toEqual(new Set([null]));
  expect(faults()).toEqual([]);
});

test('a stop of a run is refused where its source cannot stop runs', async () => {
  await start();
  source.runs.set('job-1', { status: 'running' });
  await watch(['job-1']);
  const response = await fetch(`${daemon.url}/v1/watches/job-1/stop`, { method: 'POST' });
  expect([response.status, await response.json()]).toMatchObject([409, { code: 'cannot_stop' }]);
  expect(faults()).toEqual([]);
});

test('a 404 of the only run proves nothing gone where nothing can be probed, until another run answers', async () => {
  await start();
  await watch(['job-1']);
  await waitFor(async () => (await watchOf('job-1')).polls >= 8);
  expect(await watchOf('job-1')).toMatchObject({ state: 'active' });
  expect(notifiedOf('run.gone')).toEqual([]);
  source.runs.set('job-2', { status: 'running' });
  await watch(['job-2']);
  await waitFor(async () => (await watchOf('job-1')).state === 'gone');
  await waitFor(() => notifiedOf('run.gone').length > 0);
  expect(notifiedOf('run.gone')).toEqual(['job-1']);
  expect(faults()).toEqual([]);
});

test('a reload gives a source the headers of its new key', async () => {
  await start();
  const sources = { ci: { ...config.sources['ci']!, api_key: 'key of today' } };
  const loaded = {
    kind: 'loaded',
    file: null,
    overrides: [],
    warnings: [],
    tracing: null,
    rereadHeaders: () => null,
  } as const;
  daemon.reload({ ...loaded, config: { ...config, sources } });
  expect(source.headers).toEqual([{ authorization: 'Bearer key of today' }]);
});

test('a run of a source that cannot stop runs gets 409 for its stop, and the list of sources says so', async () => {
  await start();
  source.runs.set('job-1', { status: 'running' });
  await watch(['job-1']);
  const stop = await fetch(`${daemon.url}/v1/watches/job-1/stop`, { method: 'POST' });
  expect(stop.status).toBe(409);
  expect(await stop.json()).toMatchObject({ code: 'cannot_stop' });
  const sources = await fetch(`${daemon.url}/v1/sources`);
  expect(await sources.json()).toMatchObject({ data: [{ name: 'ci', can_stop: false }] });
  expect(faults()).toEqual([]);
});
