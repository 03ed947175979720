import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { readAll, watchOf, type WatchJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const HOUR = 3_600_000;

/** By how much the clock of Noxus is behind ours. */
const BEHIND_MS = 3 * HOUR;

const LIST = { source: 'default', workflowId: null };

/** What runs do that others begin. */
const COMPLETES: ScriptInput = {
  steps: [
    { after_ms: 0, status: 'running' },
    { after_ms: 1_500, status: 'completed', progress: 100 },
  ],
};

let noxus: Simulator;
let everybody: Receiver;
let ops: Receiver;
let daemons: DaemonProcess[] = [];
const allDaemons: DaemonProcess[] = [];
const { url: redisUrl, prefix } = testRedis();

async function start({
  source = noxus,
  told = everybody,
  redis = { url: redisUrl, prefix },
} = {}): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({
    env: { REDIS_URL: redis.url },
    config: {
      redis: { prefix: redis.prefix },
      sources: {
        default: {
          base_url: source.url,
          api_key: source.apiKey,
          timeout: '8s',
          rate_limit: { requests: 10_000, per: '1s' },
          discover: { workflows: 'all', every: '250ms' },
        },
      },
      // So rarely that a slow machine answers: reads that time out are trouble of the source.
      polling: { min_interval: '500ms', max_interval: '1s' },
      endpoints: {
        everybody: { type: 'webhook', url: told.url, secret: SECRET, default: true },
        ops: {
          type: 'webhook',
          url: ops.url,
          secret: SECRET,
          events: ['run.*', 'discovery.*'],
        },
      },
      delivery: { per_endpoint: 64 },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  allDaemons.push(daemon);
  return daemon;
}

function begin(count: number, script = COMPLETES): string[] {
  return Array.from({ length: count }, () => noxus.add(script).id);
}

function isEndOf(runId: string, body: string): boolean {
  const { type, data } = JSON.parse(body) as RunwatchEvent;
  return type === 'run.completed' && data.run_id === runId;
}

/** The ids of the events for the end of each run. */
function pastEnds(): Map<string, Set<string>> {
  const sent = new Map<string, Set<string>>();
  for (const { id, body } of everybody.received) {
    const { type, data } = JSON.parse(body) as RunwatchEvent;
    if (type !== 'run.completed') continue;
    sent.set(data.run_id, (sent.get(data.run_id) ?? new Set()).add(String(id)));
  }
  return sent;
}

async function untilNotified(runIds: string[]): Promise<void> {
  const missing = () => runIds.filter((id) => !pastEnds().has(id));
  await waitFor(() => missing().length === 0, {
    describe: () => `${missing().length} of ${runIds.length} runs to be sent of`,
  });
}

function watches(): Promise<WatchJson[]> {
  return readAll<WatchJson>(anyDaemon(), '/v1/watches');
}

function anyDaemon(): DaemonProcess {
  const [daemon] = daemons;
  if (daemon === undefined) throw new Error('no daemon runs');
  return daemon;
}

const unavailable = () => linesOf('discovery.unavailable');

function linesOf(msg: string) {
  return allDaemons.flatMap((daemon) => daemon.log()).filter((line) => line.msg === msg);
}

/** Runs that had ended when discovery began. */
let before: string[];
/** Runs that ran then, and go on. */
let active: string[];
/** Runs that waited then, and go on waiting. */
let waiting: string[];
const others: string[] = [];

beforeAll(async () => {
  noxus = await startSimulator({ now: () => Date.now() - BEHIND_MS });
  everybody = await startReceiver({ secrets: [SECRET] });
  ops = await startReceiver({ secrets: [SECRET] });
  waiting = begin(40, { steps: [{ after_ms: 0, status: 'awaiting_human_feedback' }] });
  active = begin(5, { steps: [{ after_ms: 0, status: 'running' }] });
  before = begin(130, { steps: [{ after_ms: 0, status: 'completed', progress: 100 }] });
  const killed = await start();
  await waitFor(() => linesOf('discovered').length > 0);
  await killed.stop('SIGKILL');
  daemons = await Promise.all([start(), start(), start()]);
  // Runs that began before the first pass has ended are old, and a machine that is busy may lose a first read.
  const { discoveries, close } = openStores({ url: redisUrl, prefix });
  try {
    await waitFor(async () => (await discoveries.cursors([LIST]))[0]);
  } finally {
    await close();
  }
});

afterAll(async () => {
  await stopAll(allDaemons);
  await Promise.all([everybody, ops, noxus].map((server) => server.close()));
});

/** The notices of runs that waited when discovery began, each once. */
function notices(): Map<string, unknown> {
  const bodies = everybody.received.map(({ body }) => JSON.parse(body) as RunwatchEvent);
  const found = bodies.filter(({ type }) => (type as string) === 'discovery.waiting');
  return new Map(found.map(({ id, data }) => [id, data]));
}

describe('discovery by three daemons of a workspace with a clock three hours behind', () => {
  test('discovery takes the runs that are active when it begins, and says what it leaves out', async () => {
    for (const id of active) noxus.setStatus(id, 'completed');
    others.push(...active);
    await untilNotified(active);
    const { body } = await anyDaemon().api<{ data: { discovery: unknown }[] }>('/v1/sources');
    expect(body.data[0]?.discovery).toMatchObject([{ workflow_id: null, left_out: 130 }]);
  });

  test('runs that wait when discovery begins are one notice, and no event each is sent', async () => {
    await waitFor(() => notices().size > 0);
    expect([...notices().values()]).toMatchObject([{ source: 'default', count: 40 }]);
  });

  test('discovery watches runs that others start, with the default endpoints only', async () => {
    const runIds = begin(5);
    others.push(...runIds);
    await untilNotified(runIds);
    expect(await watchOf(anyDaemon(), runIds[0] ?? '')).toMatchObject({
      state: 'finished',
      metadata: {},
      subscriptions: [{ endpoint: 'everybody' }],
    });
  });

  test('discovery sends one event for a run that ended before it was listed', async () => {
    const steps = [{ after_ms: 0, status: 'completed', progress: 100 }];
    const runIds = begin(5, { steps });
    others.push(...runIds);
    await untilNotified(runIds);
  });

  test('discovery does not change the watch of a registered run', async () => {
    const [runId = ''] = begin(1, { steps: [{ after_ms: 0, status: 'running' }] });
    const watch = { run_id: runId, endpoints: ['ops'], metadata: { team: 'billing' } };
    await anyDaemon().api('/v1/watches', watch);
    const runIds = begin(1);
    others.push(...runIds);
    await untilNotified(runIds);
    const subscriptions = (await watchOf(anyDaemon(), runId)).subscriptions;
    expect(subscriptions).toContainEqual({ endpoint: 'ops' });
    noxus.delete(runId);
  });

  test('discovery finds all runs although pages shift, one daemon is killed and one restarts', async () => {
    noxus.fault({ kind: 'shift', by: -30, on: 'list', count: 2 });
    noxus.fault({ kind: 'shift', by: 20, on: 'list', count: 1 });
    const runIds = begin(130);
    const [killed, restarted, third] = daemons as [DaemonProcess, DaemonProcess, DaemonProcess];
    await waitFor(async () => linesOf('discovered').length > 3);
    await Promise.all([killed.stop('SIGKILL'), restarted.stop('SIGTERM')]);
    runIds.push(...begin(20));
    daemons = [third, await start()];
    runIds.push(...begin(20));
    others.push(...runIds);
    await untilNotified(runIds);
  });

  test('discovery reports a failing list once, keeps the daemons ready, and misses no run', async () => {
    const readiness = async () => (await anyDaemon().api<string>('/readyz')).body;
    // On a slow machine a list may have been late before; the killed daemon may not have logged it.
    await waitFor(async () => /^ok discovery: /m.test(await readiness()));
    const [failed, recovered] = [unavailable().length, linesOf('discovery.recovered').length];
    noxus.fault({ kind: 'status', status: 403, on: 'list' });
    await waitFor(() => unavailable().length > failed);
    const runIds = begin(12);
    const { status, body } = await anyDaemon().api<string>('/readyz');
    expect({ status, body }).toEqual({
      status: 200,
      body: expect.stringMatching(
        /^degraded discovery: cannot read default: status 403 \(request id \S+\)$/m,
      ),
    });
    noxus.clearFaults();
    others.push(...runIds);
    await untilNotified(runIds);
    expect(unavailable()).toHaveLength(failed + 1);
    await waitFor(async () => /^ok discovery: /m.test(await readiness()));
    await waitFor(() => linesOf('discovery.recovered').length > recovered);
    expect(linesOf('discovery.recovered')).toHaveLength(recovered + 1);
    const types = () =>
      ops.received.map(({ type }) => type).filter((type) => type?.startsWith('d'));
    await waitFor(() => types().at(-1) === 'discovery.recovered');
    expect(types().slice(-2)).toEqual(['discovery.unavailable', 'discovery.recovered']);
  });

  test('discovery sends one event for each run, and none for runs that had ended before', async () => {
    const sent = pastEnds();
    expect([...sent].filter(([, events]) => events.size > 1)).toEqual([]);
    expect([...sent.keys()].toSorted()).toEqual(others.toSorted());
    const watched = new Set((await watches()).map(({ run_id: runId }) => runId));
    expect(before.filter((id) => watched.has(id))).toEqual([]);
    expect(waiting.filter((id) => !watched.has(id))).toEqual([]);
    expect(notices().size).toBe(1);
    const types = new Set(everybody.received.map(({ type }) => type));
    expect(types).not.toContain('run.awaiting_human_feedback');
  });
});

describe('discovery where no run is watched', () => {
  test('discovery goes on after a pause that its own list asked for twice', async () => {
    const source = await startSimulator();
    const told = await startReceiver({ secrets: [SECRET] });
    const { url, prefix: own } = testRedis();
    const daemon = await start({ source, told, redis: { url, prefix: own } });
    const { sources, discoveries, close } = openStores({ url, prefix: own });
    try {
      await waitFor(async () => (await discoveries.cursors([LIST]))[0]);
      source.fault({ kind: 'status', status: 429, retry_after: 1, on: 'list', count: 2 });
      await waitFor(() => daemon.log().some(({ msg }) => msg === 'source.paused'));
      const { id } = source.add(COMPLETES);
      await waitFor(() => told.received.some(({ body }) => isEndOf(id, body)));
      expect((await sources.read('default')).state).toBeNull();
    } finally {
      await Promise.all([daemon.stop('SIGTERM'), close()]);
      await Promise.all([told, source].map((server) => server.close()));
    }
  });
});
