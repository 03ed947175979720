import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { eventsOf, readAll, waitUntilAllDelivered } from '../support/daemon-listings.ts';
import type { DeliveryJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const AWAITING = 'awaiting_human_feedback';

/** When runs that wait are called to mind, ms. */
const REMIND_AFTER_MS = [700, 1_400] as const;
const NEVER_MS = 3_600_000;

/** How long a run may be in one state, ms. */
const STALL_AFTER_MS = 600;

let noxus: Simulator;
let hooks: Receiver;
/** Turns every reminder away. */
let stubborn: Receiver;
let daemon: DaemonProcess;
const reader = watchReader(() => daemon);
const allDaemons: DaemonProcess[] = [];

/** A daemon that reminds of a wait at these times, in place of the one before it. */
async function start(remindAfterMs: readonly number[]): Promise<DaemonProcess> {
  const [before] = allDaemons.slice(-1);
  await before?.stop();
  const started = await startDaemonProcess({
    ...(before !== undefined && { dataDir: before.dataDir }),
    config: {
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { min_interval: '50ms', max_interval: '100ms' },
      watches: {
        remind_feedback: remindAfterMs.map((ms) => `${ms}ms`),
        stall_after: `${STALL_AFTER_MS}ms`,
      },
      endpoints: {
        hooks: { type: 'webhook', url: hooks.url, secret: SECRET, default: true },
        stubborn: { type: 'webhook', url: stubborn.url, secret: SECRET, retry: ['1s', '10s'] },
      },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  allDaemons.push(started);
  return started;
}

beforeAll(async () => {
  noxus = await startSimulator();
  hooks = await startReceiver({ secrets: [SECRET] });
  stubborn = await startReceiver({
    secrets: [SECRET],
    respond: ({ body }) => (eventIn(body).data.reminder === undefined ? 204 : 500),
  });
  daemon = await start([REMIND_AFTER_MS[0], NEVER_MS]);
});

afterAll(async () => {
  await stopAll(allDaemons);
  await Promise.all([hooks, stubborn, noxus].map((server) => server.close()));
});

function eventIn(body: string): RunwatchEvent {
  return JSON.parse(body) as RunwatchEvent;
}

/** What a receiver has got of a run, in order. */
function eventsTo({ received }: Receiver, runId: string): RunwatchEvent[] {
  const events = received.map(({ body }) => eventIn(body));
  return events.filter(({ data }) => data.run_id === runId);
}

/** A watched run that waits for a human. */
async function waitingRun(endpoints?: string[]): Promise<string> {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: AWAITING, progress: 40 }] });
  await daemon.api('/v1/watches', { run_id: id, ...(endpoints && { endpoints }) });
  await reader.until(id, ({ run }) => run?.status === AWAITING);
  return id;
}

describe('run that waits long for a human', () => {
  test('a reminder that is undelivered at the answer is superseded', async () => {
    const runId = await waitingRun(['stubborn']);
    await waitFor(() => eventsTo(stubborn, runId).some(({ data }) => data.reminder === 1));
    noxus.setStatus(runId, 'completed');
    await reader.until(runId, ({ state }) => state === 'finished');
    await waitUntilAllDelivered(daemon);
    const deliveries = await readAll<DeliveryJson>(daemon, `/v1/deliveries?run_id=${runId}`);
    const states = deliveries.toReversed().map(({ event_type, state }) => [event_type, state]);
    expect(states).toEqual([
      ['run.awaiting_human_feedback', 'delivered'],
      ['run.awaiting_human_feedback', 'superseded'],
      ['run.completed', 'delivered'],
    ]);
  });

  test('a waiting run has one reminder at each configured time, until the answer', async () => {
    const runId = await waitingRun();
    // However slow the machine is, the second one is not due before the first has come.
    await waitFor(() => eventsTo(hooks, runId).length === 2);
    daemon = await start(REMIND_AFTER_MS);
    await waitFor(() => eventsTo(hooks, runId).length === 3);
    noxus.setStatus(runId, 'running');
    await reader.until(runId, ({ run }) => run?.status === 'running');
    noxus.setStatus(runId, 'completed');
    await reader.until(runId, ({ state }) => state === 'finished');
    await waitUntilAllDelivered(daemon);

    const [entry, ...reminders] = eventsTo(hooks, runId).filter(
      ({ type }) => type === `run.${AWAITING}`,
    );
    expect(entry?.data).not.toHaveProperty('reminder');
    expect(reminders.map(({ data }) => data.reminder)).toEqual([1, 2]);
    for (const [at, { data }] of reminders.entries()) {
      expect(data.waited_ms).toBeGreaterThanOrEqual(REMIND_AFTER_MS[at] ?? Infinity);
    }
    const all = await eventsOf(daemon, runId);
    const resumed = all.find(({ type }) => type === 'run.resumed');
    const waited = reminders.at(-1)?.data.waited_ms ?? Infinity;
    expect(resumed?.data.waited_ms).toBeGreaterThan(waited);
    expect(all.at(-1)?.data).not.toHaveProperty('waited_ms');
  });

  test('after downtime of the daemon only the latest reminder is sent', async () => {
    daemon = await start([NEVER_MS]);
    const runId = await waitingRun();
    const [entry] = await eventsOf(daemon, runId);
    await daemon.stop();
    const awayUntil = Date.parse(entry?.data.detected_at ?? '') + Math.max(...REMIND_AFTER_MS);
    await waitFor(() => Date.now() > awayUntil);
    daemon = await start(REMIND_AFTER_MS);
    await waitFor(() => eventsTo(hooks, runId).some(({ data }) => data.reminder === 2));
    noxus.setStatus(runId, 'completed');
    await reader.until(runId, ({ state }) => state === 'finished');
    await waitUntilAllDelivered(daemon);
    const received = await eventsOf(daemon, runId);
    expect(received.map(({ type, data }) => [type, data.reminder])).toEqual([
      ['run.awaiting_human_feedback', undefined],
      ['run.awaiting_human_feedback', 2],
      ['run.resumed', undefined],
      ['run.completed', undefined],
    ]);
    expect(received.at(-1)?.data.waited_ms).toBe(received.at(-2)?.data.waited_ms);
  });
});

/** Without the stalls at a progress: on a slow machine a run that is seen late has stalled there too. */
function withoutStalls(events: RunwatchEvent[], progress: number): RunwatchEvent[] {
  return events.filter(({ type, data: { run, previous } }) => {
    if (type === 'run.stalled') return run?.progress !== progress;
    return type !== 'run.recovered' || previous?.progress !== progress;
  });
}

describe('run without progress', () => {
  test('a run without progress is stalled once and then recovered, for endpoints with default events', async () => {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 40 }] });
    await daemon.api('/v1/watches', { run_id: id });
    const [stalled] = await waitFor(() => {
      const received = eventsTo(hooks, id);
      return received.length > 0 && received;
    });
    const { polls } = await reader.get(id);
    await reader.until(id, (watch) => watch.polls > polls + 3);
    noxus.setStatus(id, 'running', 60);
    await waitFor(() => eventsTo(hooks, id).length > 1);
    noxus.setStatus(id, 'failed');
    await reader.until(id, ({ state }) => state === 'finished');
    await waitUntilAllDelivered(daemon);

    const received = eventsTo(hooks, id);
    expect(withoutStalls(received, 60).map(({ type }) => type)).toEqual([
      'run.stalled',
      'run.recovered',
      'run.failed',
    ]);
    expect(stalled?.data).toMatchObject({ run: { status: 'running', progress: 40 } });
    expect(stalled?.data.usual_ms).toBeNull();
    expect(stalled?.data.lasted_ms).toBeGreaterThanOrEqual(STALL_AFTER_MS);
    expect(received[1]?.data.lasted_ms).toBeGreaterThan(stalled?.data.lasted_ms ?? Infinity);
    const all = await eventsOf(daemon, id);
    expect(withoutStalls(all, 60).map(({ type }) => type)).toEqual([
      'run.stalled',
      'run.recovered',
      'run.progress',
      'run.failed',
    ]);
  });

  test('a run is not stalled if other runs of its workflow took as long', async () => {
    const workflow_id = randomUUID();
    const sits = { after_ms: 0, status: 'running', progress: 40 };
    const eventTypesOf = async (runId: string) => {
      await reader.until(runId, ({ state }) => state === 'finished');
      return (await eventsOf(daemon, runId)).map(({ type }) => type);
    };
    const { id: first } = noxus.add({ workflow_id, steps: [sits] });
    await daemon.api('/v1/watches', { run_id: first });
    const beganAt = Date.now();
    await waitFor(() => eventsTo(hooks, first).length > 0);
    await waitFor(() => Date.now() > beganAt + 5 * STALL_AFTER_MS);
    noxus.setStatus(first, 'completed');
    expect(await eventTypesOf(first)).toEqual(['run.stalled', 'run.recovered', 'run.completed']);

    const end = { after_ms: 2 * STALL_AFTER_MS, status: 'completed' };
    const { id: second } = noxus.add({ workflow_id, steps: [sits, end] });
    await daemon.api('/v1/watches', { run_id: second });
    expect(await eventTypesOf(second)).toEqual(['run.completed']);
  });
});
