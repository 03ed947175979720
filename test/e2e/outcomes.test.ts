import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import {
  startReceiver,
  type ReceivedWebhook,
  type Receiver,
} from '../../src/simulator/receiver.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import {
  eventsOf,
  readAll,
  waitForWatch,
  waitUntilAllDelivered,
  watchOf,
  type DeliveryJson,
  type WatchJson,
} from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const PER_WATCH_EVENTS = ['run.failed', 'run.awaiting_human_feedback', 'watch.*'];
const NOT_DEFAULT_EVENTS = new Set(['run.started', 'run.resumed', 'run.progress']);
const WORKFLOW = '3d0a7c51-2f6b-4b8e-9c1d-5e7f90a1b2c3';
const NAME = 'invoices';
const AN_ID = /^evt_[a-z0-9]+_[\w~-]+$/;
const A_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** What happens to a run. Each step is taken when the daemon has seen the one before. */
type Step =
  | { to: string; progress?: number }
  | { timesOut: true }
  | { isDeleted: true }
  | { appears: true }
  | { isUnwatched: true };

interface Outcome {
  what: string;
  /** Null for a run that is not there when it is registered. */
  script: ScriptInput | null;
  steps: Step[];
  /** All its events, in order. */
  events: string[];
  state: string;
}

const OUTCOMES: Outcome[] = [
  {
    what: 'a run that completes',
    script: { timestamps: 'naive' },
    steps: [{ to: 'running' }, { to: 'running', progress: 40 }, { to: 'completed', progress: 100 }],
    events: ['run.started', 'run.progress', 'run.progress', 'run.completed'],
    state: 'finished',
  },
  {
    what: 'a run that fails',
    script: {},
    steps: [{ to: 'running', progress: 10 }, { to: 'failed' }],
    events: ['run.started', 'run.progress', 'run.failed'],
    state: 'finished',
  },
  {
    what: 'a run that is stopped',
    script: {},
    steps: [{ to: 'running' }, { to: 'stopped' }],
    events: ['run.started', 'run.stopped'],
    state: 'finished',
  },
  {
    what: 'a run that waits for a human twice and completes',
    script: {},
    steps: [
      { to: 'running' },
      { to: 'awaiting_human_feedback' },
      { to: 'running' },
      { to: 'awaiting_human_feedback' },
      { to: 'completed' },
    ],
    events: [
      'run.started',
      'run.awaiting_human_feedback',
      'run.resumed',
      'run.awaiting_human_feedback',
      'run.resumed',
      'run.completed',
    ],
    state: 'finished',
  },
  {
    what: 'a run that waits for a human until its watch expires',
    script: {},
    steps: [{ to: 'awaiting_human_feedback', progress: 70 }, { timesOut: true }],
    events: ['run.progress', 'run.awaiting_human_feedback', 'watch.expired'],
    state: 'expired',
  },
  {
    what: 'a run that runs until its watch expires',
    script: {},
    steps: [{ to: 'running' }, { timesOut: true }],
    events: ['run.started', 'watch.expired'],
    state: 'expired',
  },
  {
    what: 'a run that stays queued until nobody watches it any more',
    script: {},
    steps: [{ isUnwatched: true }],
    events: [],
    state: 'cancelled',
  },
  {
    what: 'a run that takes an unknown status twice and completes',
    script: {},
    steps: [
      { to: 'running' },
      { to: 'hibernating' },
      { to: 'running' },
      { to: 'hibernating' },
      { to: 'completed' },
    ],
    events: ['run.started', 'run.status_unknown', 'run.completed'],
    state: 'finished',
  },
  {
    what: 'a run that is deleted',
    script: {},
    steps: [{ to: 'running' }, { isDeleted: true }],
    events: ['run.started', 'run.gone'],
    state: 'gone',
  },
  {
    what: 'a run whose id is rejected',
    script: { rejected: true },
    steps: [],
    events: ['run.gone'],
    state: 'gone',
  },
  {
    what: 'a run that appears late',
    script: null,
    steps: [{ appears: true }, { to: 'running' }, { to: 'completed' }],
    events: ['run.started', 'run.completed'],
    state: 'finished',
  },
  {
    what: 'a run that had failed when it was registered',
    script: {
      age_ms: 3_660_000,
      steps: [
        { after_ms: 1_000, status: 'running' },
        { after_ms: 60_000, status: 'failed', progress: 35 },
      ],
    },
    steps: [],
    events: ['run.failed'],
    state: 'finished',
  },
  {
    what: 'a run that waited for a human when it was registered',
    script: { steps: [{ after_ms: 0, status: 'awaiting_human_feedback' }] },
    steps: [{ to: 'stopped' }],
    events: ['run.awaiting_human_feedback', 'run.resumed', 'run.stopped'],
    state: 'finished',
  },
  {
    what: 'a run that is completed without ever having been seen running',
    script: {},
    steps: [{ to: 'completed', progress: 100 }],
    events: ['run.progress', 'run.completed'],
    state: 'finished',
  },
];

let noxus: Simulator;
/** An endpoint for all events, one with default events, and a per-watch webhook. */
let everything: Receiver;
let usual: Receiver;
let perWatch: Receiver;
let daemon: DaemonProcess;
const reader = watchReader(() => daemon);
/** The ids of the runs, by what they are. */
let runs: Map<string, string>;
const allDaemons: DaemonProcess[] = [];

async function start(dataDir?: string): Promise<DaemonProcess> {
  const started = await startDaemonProcess({
    ...(dataDir !== undefined && { dataDir }),
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 10_000, per: '1s' },
        },
      },
      workflows: { [WORKFLOW]: { name: NAME } },
      polling: { min_interval: '50ms', max_interval: '100ms', gone_after: '900ms' },
      endpoints: {
        everything: { type: 'webhook', url: everything.url, secret: SECRET, events: ['*'] },
        usual: { type: 'webhook', url: usual.url, secret: SECRET },
        audit: { type: 'log', events: ['*'] },
      },
      delivery: { signing_secret: SECRET },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  allDaemons.push(started);
  return started;
}

/** Registers a run and leads it through its steps, each once the one before has been seen. */
async function play(outcome: Outcome): Promise<string> {
  const runId =
    outcome.script === null
      ? `late-${Math.random().toString(36).slice(2)}`
      : noxus.add({ ...outcome.script, workflow_id: WORKFLOW }).id;
  const { status } = await daemon.api('/v1/watches', {
    run_id: runId,
    endpoints: ['everything', 'usual', 'audit'],
    webhook: { url: perWatch.url, secret: SECRET, events: PER_WATCH_EVENTS },
    metadata: { what: outcome.what },
  });
  expect(status).toBe(201);
  await reader.until(runId, ({ polls }) => polls > 0);
  for (const step of outcome.steps) {
    // A notice of a wait that is over is not sent any more.
    await waitFor(() => isDelivered(runId));
    await take(step, runId);
  }
  await reader.until(runId, ({ state }) => state === outcome.state);
  return runId;
}

async function isDelivered(runId: string): Promise<boolean> {
  const { body } = await daemon.api(`/v1/deliveries?run_id=${runId}&state=pending`);
  return body.data.length === 0;
}

async function take(step: Step, runId: string): Promise<void> {
  if ('to' in step) {
    noxus.setStatus(runId, step.to, step.progress);
    await reader.until(
      runId,
      ({ run }) =>
        run?.status === step.to && (step.progress === undefined || run.progress === step.progress),
    );
  } else if ('timesOut' in step) {
    await daemon.api('/v1/watches', { run_id: runId, endpoints: ['usual'], timeout: '1s' });
  } else if ('isDeleted' in step) {
    noxus.delete(runId);
    await reader.until(runId, ({ error }) => error?.code === 'not_found');
  } else if ('isUnwatched' in step) {
    await daemon.api(`/v1/watches/${runId}`, undefined, 'DELETE');
  } else {
    noxus.add({ id: runId, workflow_id: WORKFLOW });
    await reader.until(runId, ({ run }) => run !== null);
  }
}

function runOf(what: string): string {
  return runs.get(what) ?? '';
}

function bodyOf(webhook: ReceivedWebhook): RunwatchEvent {
  return JSON.parse(webhook.body) as RunwatchEvent;
}

function receivedOf({ received }: Receiver, runId: string): ReceivedWebhook[] {
  return received.filter((webhook) => bodyOf(webhook).data.run_id === runId);
}

function linesOf(runId: string) {
  return daemon
    .log()
    .map(({ level, msg, event }) => ({ level, msg, event: event as RunwatchEvent | undefined }))
    .filter(({ event }) => event?.data?.run_id === runId);
}

beforeAll(async () => {
  noxus = await startSimulator();
  [everything, usual, perWatch] = (await Promise.all(
    [0, 1, 2].map(() => startReceiver({ secrets: [SECRET] })),
  )) as [Receiver, Receiver, Receiver];
  daemon = await start();
  const ids = await Promise.all(OUTCOMES.map(play));
  runs = new Map(OUTCOMES.map(({ what }, at) => [what, ids[at] ?? '']));
  await waitUntilAllDelivered(daemon);
});

afterAll(async () => {
  await stopAll(allDaemons);
  await Promise.all([everything, usual, perWatch, noxus].map((server) => server.close()));
});

describe.each(OUTCOMES)('$what', ({ what, events, state }) => {
  test(`${what}: the log has exactly its events, numbered in order`, async () => {
    const received = await eventsOf(daemon, runOf(what));
    expect(received.map(({ type }) => type)).toEqual(events);
    expect(received.map(({ data }) => data.sequence)).toEqual(events.map((_, at) => at + 1));
    expect(await watchOf(daemon, runOf(what))).toMatchObject({ state, sequence: events.length });
  });

  test(`${what}: an endpoint for all events gets each once, in order`, () => {
    const received = receivedOf(everything, runOf(what));
    expect(received.map(({ type }) => type)).toEqual(events);
  });

  test(`${what}: an endpoint with default events gets each once, in order`, () => {
    const received = receivedOf(usual, runOf(what));
    const expected = events.filter((type) => !NOT_DEFAULT_EVENTS.has(type));
    expect(received.map(({ type }) => type)).toEqual(expected);
  });

  test(`${what}: the per-watch webhook gets each event once, in order`, () => {
    const received = receivedOf(perWatch, runOf(what));
    const expected = events.filter(
      (type) =>
        type === 'run.failed' ||
        type === 'run.awaiting_human_feedback' ||
        type.startsWith('watch.'),
    );
    expect(received.map(({ type }) => type)).toEqual(expected);
  });

  test(`${what}: a log endpoint writes each event once, in order, with the level of its type`, () => {
    const levels: Record<string, string> = {
      'run.failed': 'error',
      'run.stopped': 'warn',
      'run.awaiting_human_feedback': 'warn',
      'run.gone': 'warn',
      'watch.expired': 'warn',
    };
    const lines = linesOf(runOf(what));
    expect(lines.map(({ level, msg }) => ({ level, msg }))).toEqual(
      events.map((type) => ({ level: levels[type] ?? 'info', msg: type })),
    );
  });

  test(`${what}: every event has the documented shape, and is the same wherever it is read`, async () => {
    const listed = await eventsOf(daemon, runOf(what));
    expect(receivedOf(everything, runOf(what)).map(bodyOf)).toEqual(listed);
    expect(linesOf(runOf(what)).map(({ event }) => event)).toEqual(listed);
    const watch = await watchOf(daemon, runOf(what));
    for (const event of listed) expectPromisedShape(event, watch);
  });
});

/** Everything that holds for any event: names, nulls, formats. */
function expectPromisedShape(event: RunwatchEvent, watch: WatchJson): void {
  const { run, previous, nodes, detection_delay_ms: delay, ...data } = event.data;
  expect(event).toStrictEqual({
    id: expect.stringMatching(AN_ID),
    type: event.type,
    timestamp: expect.stringMatching(A_TIME),
    data: expect.anything(),
  });
  expect(data).toStrictEqual({
    run_id: watch.run_id,
    workflow_name: watch.run === null ? null : NAME,
    run_url: null,
    watch_url: null,
    sequence: expect.any(Number),
    detected_at: expect.stringMatching(A_TIME),
    watch: {
      source: 'default',
      metadata: watch.metadata,
      registered_at: watch.registered_at,
    },
    // The event after a wait contains the duration of the wait.
    ...(previous?.status === 'awaiting_human_feedback' &&
      run?.status !== previous.status &&
      event.type !== 'run.progress' && { waited_ms: expect.any(Number) }),
    ...(event.type === 'run.gone' && {
      error: {
        code: expect.stringMatching(/^(not_found|rejected)$/),
        message: expect.any(String),
        since: expect.stringMatching(A_TIME),
      },
    }),
  });
  if (nodes !== null) {
    const counts = { executed: expect.any(Number), remaining: expect.any(Number) };
    expect(nodes).toMatchObject({
      ...counts,
      running: expect.any(Array),
      failed: expect.any(Array),
    });
  }
  if (run !== null) expectPromisedRun(run, watch.run_id);
  if (previous !== null) {
    expect(previous).toStrictEqual({
      status: expect.any(String),
      progress: expect.any(Number),
    });
  }
  const isTerminal = ['run.completed', 'run.failed', 'run.stopped'].includes(event.type);
  expect(event.timestamp).toBe(isTerminal ? run?.finished_at : data.detected_at);
  const finishedAt = run?.finished_at ?? null;
  const sinceEnd = finishedAt && Date.parse(data.detected_at) - Date.parse(finishedAt);
  // A run that ended before it was watched was not detected late.
  const wasWatched = finishedAt !== null && finishedAt >= watch.registered_at;
  expect(delay).toBe(wasWatched ? Math.max(0, Number(sinceEnd)) : null);
}

function expectPromisedRun(run: object, runId: string): void {
  const aTime = expect.stringMatching(A_TIME);
  const { started_at, finished_at, ...rest } = run as Record<string, unknown>;
  expect(rest).toStrictEqual({
    id: runId,
    workflow_id: expect.any(String),
    group_id: expect.any(String),
    workflow_version_id: null,
    status: expect.any(String),
    progress: expect.any(Number),
    created_at: aTime,
    source: 'api',
    user_id: null,
    conversation_id: null,
    observed_at: aTime,
  });
  for (const time of [started_at, finished_at]) {
    if (time !== null) expect(time).toEqual(aTime);
  }
}

describe('event', () => {
  test('an event contains the run before and after the change', async () => {
    const [started, progress, more, completed] = await eventsOf(
      daemon,
      runOf('a run that completes'),
    );
    expect(started?.data).toMatchObject({
      previous: { status: 'queued', progress: 0 },
      run: { status: 'running', progress: 0, finished_at: null },
    });
    expect(started?.data.run?.started_at).not.toBeNull();
    expect(progress?.data).toMatchObject({
      previous: { status: 'running', progress: 0 },
      run: { status: 'running', progress: 40 },
    });
    // The last step changed progress and status at once: two events of the same look.
    for (const event of [more, completed]) {
      expect(event?.data).toMatchObject({
        previous: { status: 'running', progress: 40 },
        run: { status: 'completed', progress: 100 },
        detected_at: completed?.data.detected_at,
      });
    }
  });

  test('an event of a run that ended before its registration has no delay and no previous run', async () => {
    const [failed] = await eventsOf(daemon, runOf('a run that had failed when it was registered'));
    expect(failed?.data.previous).toBeNull();
    expect(failed?.data.detection_delay_ms).toBeNull();
  });

  test('run.gone contains the reason and the last snapshot', async () => {
    const deleted = (await eventsOf(daemon, runOf('a run that is deleted'))).at(-1);
    expect(deleted?.data).toMatchObject({
      run: { status: 'running' },
      previous: { status: 'running', progress: 0 },
      error: { code: 'not_found' },
    });
    const { error, detected_at: at = '' } = deleted?.data ?? {};
    expect(Date.parse(at) - Date.parse(error?.since ?? '')).toBeGreaterThanOrEqual(900);
    const [rejected] = await eventsOf(daemon, runOf('a run whose id is rejected'));
    expect(rejected?.data).toMatchObject({
      run: null,
      previous: null,
      error: { code: 'rejected', message: expect.stringContaining('valid UUID') },
    });
  });
});

describe('webhook', () => {
  test('a webhook is signed and has the documented headers', () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    const all = [everything, usual, perWatch].flatMap(({ received }) => received);
    expect(all.length).toBeGreaterThan(30);
    for (const webhook of all) {
      expect(webhook.problem).toBeNull();
      expect(webhook.headers).toMatchObject({
        'content-type': 'application/json',
        'user-agent': `runwatch/${version}`,
        'webhook-id': bodyOf(webhook).id,
        'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
        'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
      });
    }
  });
});

describe('delivery', () => {
  test('every pair of event and subscription has a delivery, with one attempt', async () => {
    const deliveries = await readAll<DeliveryJson>(daemon, '/v1/deliveries');
    const toWebhooks = [everything, usual, perWatch].flatMap(({ received }) => received).length;
    const lines = OUTCOMES.flatMap(({ what }) => linesOf(runOf(what))).length;
    expect(deliveries).toHaveLength(toWebhooks + lines);
    for (const delivery of deliveries) {
      expect(delivery).toMatchObject({ state: 'delivered', attempt_count: 1 });
    }
  });
});

describe('event id', () => {
  test('event ids are the same after a restart, which sends no event again', async () => {
    const before = await readAll<RunwatchEvent>(daemon, '/v1/events');
    const received = everything.received.length;
    await daemon.stop();
    daemon = await start(daemon.dataDir);
    const after = await readAll<RunwatchEvent>(daemon, '/v1/events');
    expect(after).toEqual(before);
    // After one more run has been delivered, any repeated event would have arrived.
    const runId = await play({ ...(OUTCOMES[2] as Outcome), what: 'one more' });
    await waitFor(() => receivedOf(everything, runId).length === 2);
    await waitUntilAllDelivered(daemon);
    expect(everything.received).toHaveLength(received + 2);
  });

  test('event ids are the same in a daemon with an empty store', async () => {
    const what = 'a run that had failed when it was registered';
    const [before] = await eventsOf(daemon, runOf(what));
    const other = await start();
    await other.api('/v1/watches', { run_id: runOf(what), endpoints: ['audit'] });
    await waitForWatch(other, runOf(what), ({ state }) => state === 'finished');
    const [again] = await eventsOf(other, runOf(what));
    expect(again?.id).toBe(before?.id);
  });
});
