import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  startReceiver,
  type ReceivedWebhook,
  type Receiver,
} from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { MAIN, SHIPPED_MAIN } from '../support/built-main.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import {
  startOtlpReceiver,
  type OtlpReceiver,
  type ReceivedSpan,
} from '../support/otlp-receiver.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 4).toString('base64')}`;
const ERROR = 2;

let noxus: Simulator;
let traces: OtlpReceiver;
let receiver: Receiver;
/** Runs of which the webhook refuses the failure once. */
const refused = new Set<string>();
const daemons: DaemonProcess[] = [];

beforeAll(async () => {
  noxus = await startSimulator();
  traces = await startOtlpReceiver();
  receiver = await startReceiver({
    secrets: [SECRET],
    respond: ({ type, body }) => {
      const id = [...refused].find((one) => type === 'run.failed' && body.includes(one)) ?? '';
      return refused.delete(id) ? 500 : 204;
    },
  });
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([noxus, traces, receiver].map((server) => server.close()));
});

async function start(
  env: Record<string, string>,
  { target = testRedis(), main = MAIN } = {},
): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({
    main,
    env: { REDIS_URL: target.url, OTEL_BSP_SCHEDULE_DELAY: '50', ...env },
    config: {
      redis: { prefix: target.prefix },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      workflows: { 'wf-1': { name: 'invoices' } },
      polling: { min_interval: '50ms', max_interval: '100ms', hints: 'off', lists: 'off' },
      endpoints: {
        hooks: {
          type: 'webhook',
          url: receiver.url,
          secret: SECRET,
          retry: ['100ms', '1h'],
          events: ['run.started', 'run.completed', 'run.failed'],
        },
      },
    },
  });
  daemons.push(daemon);
  return daemon;
}

const exporting = (to = traces.url) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: to });

/** Watches a new run, which is in its queue when it is first polled. */
async function watchQueued(daemon: DaemonProcess): Promise<string> {
  const { id } = noxus.add({ workflow_id: 'wf-1', steps: [{ after_ms: 0, status: 'queued' }] });
  await daemon.api('/v1/watches', { run_id: id });
  const isSeen = async () => (await daemon.api(`/v1/watches/${id}`)).body.run !== null;
  await waitFor(isSeen);
  return id;
}

const webhooksOf = (id: string, type: string) =>
  receiver.received.filter((one) => one.type === type && one.body.includes(id));

const spansOf = (traceId: string) => traces.spans.filter((span) => span.traceId === traceId);

const traceparent = (webhook: ReceivedWebhook | undefined) =>
  (webhook?.headers['traceparent'] ?? '').split('-');

/** Waits for the span of a run. */
async function runSpanOf(id: string): Promise<ReceivedSpan> {
  const isOfRun = ({ parentSpanId, attributes }: ReceivedSpan) =>
    parentSpanId === '' && attributes['cicd.pipeline.run.id'] === id;
  return waitFor(() => traces.spans.find(isOfRun));
}

test('a run is one trace from its queue to the webhook of its failure, which gets the traceparent', async () => {
  const daemon = await start({
    ...exporting(),
    OTEL_SERVICE_NAME: 'watcher',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    OTEL_EXPORTER_OTLP_HEADERS: 'x-team=ml',
  });
  const id = await watchQueued(daemon);
  noxus.setStatus(id, 'running', 10);
  await waitFor(() => webhooksOf(id, 'run.started').length > 0);
  refused.add(id);
  noxus.setStatus(id, 'failed');
  await waitFor(() => webhooksOf(id, 'run.failed').length === 2);
  const run = await runSpanOf(id);
  const isDelivery = ({ attributes }: ReceivedSpan) =>
    attributes['runwatch.event.type'] === 'run.failed';
  const delivery = await waitFor(() => spansOf(run.traceId).find(isDelivery));

  expect(run).toMatchObject({ name: 'RUN invoices', kind: 2, status: ERROR });
  expect(run.attributes).toMatchObject({
    'cicd.pipeline.name': 'invoices',
    'cicd.pipeline.action.name': 'RUN',
    'cicd.pipeline.result': 'failure',
    'error.type': 'run_failed',
    'runwatch.source': 'default',
    'runwatch.workflow.id': 'wf-1',
  });
  expect(run.resource).toMatchObject({
    'service.name': 'watcher',
    'deployment.environment.name': 'test',
  });
  expect(traces.headers.at(-1)).toMatchObject({ path: '/v1/traces', 'x-team': 'ml' });

  const { body: watch } = await daemon.api(`/v1/watches/${id}`);
  const times = [watch.run.created_at, watch.run.started_at, watch.run.finished_at].map(Date.parse);
  const [createdAt, startedAt, finishedAt] = times;
  expect([run.startedAt, run.endedAt]).toEqual([createdAt, finishedAt]);
  const children = spansOf(run.traceId).filter((span) => span.parentSpanId === run.spanId);
  const states = children.filter(({ name }) => name === 'queued' || name === 'running');
  expect(states.map(({ name, startedAt: from, endedAt }) => [name, from, endedAt])).toEqual([
    ['queued', createdAt, startedAt],
    ['running', startedAt, finishedAt],
  ]);
  const polls = children.filter(({ name }) => name === 'poll');
  const types = polls.map(({ attributes }) => JSON.stringify(attributes['runwatch.event.types']));
  expect(types.at(-1)).toContain('run.failed');

  // The delivery belongs to the poll that found the failure, its attempts to the delivery.
  expect(delivery).toMatchObject({ name: 'deliver hooks', parentSpanId: polls.at(-1)?.spanId });
  const attempts = spansOf(run.traceId).filter((span) => span.parentSpanId === delivery.spanId);
  const results = attempts.map((span) => [
    span.attributes['http.response.status_code'],
    span.status,
  ]);
  expect(results).toEqual([
    [500, ERROR],
    [204, 0],
  ]);
  expect(webhooksOf(id, 'run.failed').map(traceparent)).toEqual(
    attempts.map(({ spanId }) => ['00', run.traceId, spanId, '01']),
  );
  const { body: metrics } = await daemon.api<string>('/metrics');
  expect(metrics).toMatch(/runwatch_trace_spans_total\{result="exported"\} [1-9]/);
});

test('the trace of a run goes on in another daemon after kill -9', async () => {
  const target = testRedis();
  const first = await start(exporting(), { target });
  const id = await watchQueued(first);
  noxus.setStatus(id, 'running', 10);
  await waitFor(() => webhooksOf(id, 'run.started').length > 0);
  const [, traceId = ''] = traceparent(webhooksOf(id, 'run.started')[0]);
  await waitFor(() => spansOf(traceId).some(({ name }) => name === 'deliver hooks'));
  await first.stop('SIGKILL');
  const second = await start(exporting(), { target });
  noxus.setStatus(id, 'completed', 100);
  const run = await runSpanOf(id);
  const spans = await waitFor(() => {
    const found = spansOf(traceId);
    return found.filter(({ name }) => name === 'deliver hooks').length === 2 && found;
  });
  expect(run.traceId).toBe(traceId);
  expect(run.attributes['cicd.pipeline.result']).toBe('success');
  expect(run.status).not.toBe(ERROR);
  const processes = new Set(spans.map(({ resource }) => resource['service.instance.id']));
  expect(processes.size).toBe(2);
  // Every span but the root has its parent in the same trace.
  const ids = new Set(spans.map(({ spanId }) => spanId));
  expect(spans.filter(({ parentSpanId }) => !ids.has(parentSpanId))).toEqual([run]);
  await second.stop();
});

test('a receiver of traces that is down costs one line in the log, and no event', async () => {
  const target = testRedis();
  const flaky = await startOtlpReceiver();
  flaky.answer = 400;
  const daemon = await start(exporting(flaky.url), { target });
  const lines = () => daemon.log().filter(({ msg }) => msg.startsWith('traces'));
  const end = async () => {
    const id = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] }).id;
    await daemon.api('/v1/watches', { run_id: id });
    await waitFor(() => webhooksOf(id, 'run.completed').length === 1);
    return id;
  };
  await end();
  await waitFor(() => lines().length === 1);
  const asked = flaky.headers.length;
  await end();
  await waitFor(() => flaky.headers.length > asked);
  flaky.answer = 200;
  await end();
  await waitFor(() => flaky.spans.length > 0);
  await waitFor(() => lines().length === 2);
  expect(lines().map(({ level, msg }) => [level, msg])).toEqual([
    ['warn', expect.stringMatching(/^traces cannot be exported/)],
    ['info', 'traces are exported again'],
  ]);
  // One that hangs holds up neither events nor the stop.
  flaky.answer = null;
  await end();
  expect(await daemon.stop()).toBe(0);
  expect(daemon.log().filter(({ level }) => level === 'error')).toEqual([]);
  await flaky.close();
});

test.each([
  [
    'without an endpoint nothing of OpenTelemetry is loaded, and webhooks carry no traceparent',
    {},
    0,
  ],
  [
    'with an endpoint OpenTelemetry is loaded',
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:1' },
    1,
  ],
])('%s', async (_, env, least) => {
  const folder = await tempDir();
  const preload = join(folder, 'loaded.cjs');
  const list = join(folder, 'loaded');
  await writeFile(
    preload,
    `process.on('exit', () => require('fs').writeFileSync(${JSON.stringify(list)},
      Object.keys(require.cache).filter((path) => /@opentelemetry.(?!api.)/.test(path)).join('\\n')))`,
  );
  const preloaded = { ...env, NODE_OPTIONS: `--require ${preload}` };
  const daemon = await start(preloaded, { main: SHIPPED_MAIN });
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
  await daemon.api('/v1/watches', { run_id: id });
  const [webhook] = await waitFor(() => {
    const found = webhooksOf(id, 'run.completed');
    return found.length > 0 && found;
  });
  expect(webhook?.headers['traceparent'] === undefined).toBe(least === 0);
  await daemon.stop();
  const loaded = (await readFile(list, 'utf8')).split('\n').filter((path) => path !== '');
  expect(Math.min(loaded.length, 1)).toBe(least);
});
