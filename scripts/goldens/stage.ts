import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { GithubActions } from '../../test/support/apis/github-actions.ts';
import { SHIPPED_MAIN } from '../../test/support/built-main.ts';
import { waitUntilAllDelivered } from '../../test/support/daemon-listings.ts';
import {
  startDaemonProcess,
  stopAll,
  type DaemonProcess,
} from '../../test/support/daemon-process.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { watchReader, type WatchReader } from '../../test/support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const WORKFLOW = '3d0a7c51-2f6b-4b8e-9c1d-5e7f90a1b2c3';
/** Has a name of its own, so that none is read from the source. */
const STALLING_WORKFLOW = '8b1f2e6a-4c3d-4e5f-8a9b-0c1d2e3f4a5b';
export const STALLING_NAME = 'reports';
const UNKNOWN_STATUS = 'hibernating';

/** So many failed attempts in a row open the breaker of an endpoint. */
const FAILURES = 12;

/** Runs of one workflow that stall together; up to five are told one by one. */
const STALLED = 7;

/** A daemon that has sent events of many types, with nothing under way any more. */
export interface Stage {
  daemon: DaemonProcess;
  noxus: Simulator;
  /** Receivers of the standard body, and of CloudEvents. */
  all: Receiver;
  cloud: Receiver;
  /** The runs by how they ended. */
  runs: { completed: string; failed: string; stopped: string; waiting: string; gone: string };
  close(): Promise<void>;
}

/**
 * Plays every outcome of a run, and the troubles of sources, endpoints and lists that take seconds.
 * @param env of the daemon, beside its configuration
 */
export async function playStage(env: Record<string, string> = {}): Promise<Stage> {
  const servers = await startServers();
  const daemon = await startDaemonProcess({ main: SHIPPED_MAIN, config: configOf(servers), env });
  const close = async () => {
    await stopAll([daemon]);
    await Promise.all(Object.values(servers).map((server) => server.close()));
  };
  try {
    const play = playerOf(daemon, servers);
    const [runs] = await Promise.all([playRuns(play), playSources(play), playEndpoints(play)]);
    await playAlert(play);
    await playBatch(play, runs.failed);
    await waitUntilAllDelivered(daemon);
    const { noxus, all, cloud } = servers;
    return { daemon, noxus, all, cloud, runs, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Servers {
  noxus: Simulator;
  away: Simulator;
  listed: Simulator;
  ci: GithubActions;
  all: Receiver;
  cloud: Receiver;
  gone: Receiver;
  flaky: Receiver & { recover(): void };
}

async function startServers(): Promise<Servers> {
  const [noxus, away, listed] = await Promise.all([
    startSimulator(),
    startSimulator(),
    startSimulator(),
  ]);
  let isFailing = true;
  const flaky = await startReceiver({ secrets: [], respond: () => (isFailing ? 500 : 204) });
  return {
    noxus,
    away,
    listed,
    ci: await new GithubActions().listen(),
    all: await startReceiver({ secrets: [SECRET] }),
    cloud: await startReceiver({ secrets: [SECRET] }),
    gone: await startReceiver({ secrets: [], respond: () => 410 }),
    flaky: Object.assign(flaky, { recover: () => void (isFailing = false) }),
  };
}

function configOf({ noxus, away, listed, ci, all, cloud, gone, flaky }: Servers) {
  const source = { timeout: '60s', rate_limit: { requests: 1_000, per: '1s' } };
  const hook = { type: 'webhook', secret: SECRET, default: false };
  return {
    sources: {
      default: { ...source, base_url: noxus.url, api_key: noxus.apiKey },
      away: { ...source, base_url: away.url, api_key: away.apiKey },
      locked: { ...source, base_url: noxus.url, api_key: 'not-the-key' },
      listed: {
        ...source,
        base_url: listed.url,
        api_key: listed.apiKey,
        discover: { workflows: 'all', every: '250ms' },
      },
      ci: {
        ...source,
        type: 'http',
        base_url: ci.url,
        headers: { authorization: `Bearer ${ci.token}` },
        id: '{owner}/{repo}/{run}',
        run: {
          get: '/repos/{owner}/{repo}/actions/runs/{run}',
          id: '$.id',
          status: ['$.conclusion', '$.status'],
          workflow: '$.workflow_id',
          created: '$.created_at',
          started: '$.run_started_at',
          finished: '$.updated_at',
          attempt: '$.run_attempt',
        },
        states: {
          queued: ['queued'],
          running: ['in_progress'],
          completed: ['success'],
        },
        probe: '/rate_limit',
      },
    },
    workflows: {
      [WORKFLOW]: { name: 'invoices', owner: '@ana' },
      [STALLING_WORKFLOW]: { name: STALLING_NAME },
    },
    polling: {
      min_interval: '50ms',
      max_interval: '100ms',
      gone_after: '900ms',
      unreachable_after: '1s',
      hints: 'off',
      lists: 'off',
    },
    watches: { stall_after: '1s', remind_feedback: ['500ms'] },
    endpoints: {
      all: { ...hook, url: all.url, events: ['*', 'system.*'] },
      cloud: {
        ...hook,
        url: cloud.url,
        body: 'cloudevents',
        events: ['run.completed', 'run.failed'],
      },
      derived: { type: 'webhook', url: all.url, default: false, events: ['run.failed'] },
      gone: { ...hook, url: gone.url },
      flaky: { ...hook, url: flaky.url, retry: ['100ms'] },
    },
    rules: [
      {
        name: 'failed-runs',
        events: ['run.failed'],
        notify: ['all'],
        group_wait: '0s',
        group_interval: '100ms',
        // Runs that complete do not end it.
        resolve: { success_threshold: 100 },
      },
    ],
    delivery: { signing_secret: SECRET },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

interface Player {
  daemon: DaemonProcess;
  servers: Servers;
  reader: WatchReader;
  /** Waits until the endpoint for all events has got one of each type. */
  received: (...types: string[]) => Promise<unknown>;
  /** Watches a run, by default for `all` alone; its metadata names its part. */
  watch: (runId: string, part: string, more?: Record<string, unknown>) => Promise<void>;
}

function playerOf(daemon: DaemonProcess, servers: Servers): Player {
  const has = (type: string) => servers.all.received.some((one) => one.type === type);
  return {
    daemon,
    servers,
    reader: watchReader(() => daemon),
    received: (...types) =>
      waitFor(() => types.every(has), {
        describe: () => `events of the types ${types.filter((type) => !has(type)).join(', ')}`,
      }),
    async watch(runId, part, more = {}) {
      const body = { run_id: runId, endpoints: ['all'], metadata: { part }, ...more };
      const { status, body: answer } = await daemon.api('/v1/watches', body);
      if (status >= 300) throw new Error(`${runId} is not watched: ${JSON.stringify(answer)}`);
    },
  };
}

async function playRuns(player: Player): Promise<Stage['runs']> {
  const [completed, failed, stopped, waiting, gone] = await Promise.all([
    leads(player, 'completed', ['running', UNKNOWN_STATUS, 'running', 'completed']),
    leads(player, 'failed', ['running', 'failed']),
    leads(player, 'stopped', ['stopped']),
    leads(player, 'waiting', ['awaiting_human_feedback', 'running', 'awaiting_human_feedback']),
    disappears(player),
    expires(player),
    loses(player),
    stalls(player),
    runsAgain(player),
  ]);
  return { completed, failed, stopped, waiting, gone };
}

/** A run that takes these states, each once the one before has been delivered. */
async function leads(
  { servers: { noxus }, watch, reader, daemon }: Player,
  part: string,
  states: string[],
): Promise<string> {
  const { id } = noxus.add({ workflow_id: WORKFLOW });
  await watch(id, part, { endpoints: ['all', 'cloud'] });
  for (const [at, status] of states.entries()) {
    await reader.until(id, ({ run }) => run !== null);
    await waitUntilAllDeliveredOf(daemon, id);
    noxus.setStatus(id, status, 20 * (at + 1));
    await reader.until(id, ({ run }) => run?.status === status);
  }
  return id;
}

/** A notice of a state that is over is not sent any more. */
async function waitUntilAllDeliveredOf(daemon: DaemonProcess, runId: string): Promise<void> {
  await waitFor(async () => {
    const { body } = await daemon.api(`/v1/deliveries?run_id=${runId}&state=pending`);
    return body.data.length === 0;
  });
}

async function disappears({ servers: { noxus }, watch, reader }: Player): Promise<string> {
  const { id } = noxus.add({ workflow_id: WORKFLOW });
  await watch(id, 'gone');
  await reader.until(id, ({ run }) => run !== null);
  noxus.delete(id);
  await reader.until(id, ({ state }) => state === 'gone');
  return id;
}

async function expires({ servers: { noxus }, watch, reader, received }: Player): Promise<void> {
  const { id } = noxus.add({ workflow_id: WORKFLOW });
  await watch(id, 'expired');
  await reader.until(id, ({ run }) => run !== null);
  await watch(id, 'expired', { timeout: '1s' });
  await received('watch.expired');
}

/** A run that alone is not answered for, and then is. */
async function loses({ servers: { noxus }, watch, reader, received }: Player): Promise<void> {
  const { id } = noxus.add({ workflow_id: WORKFLOW });
  await watch(id, 'lost');
  await reader.until(id, ({ run }) => run !== null);
  noxus.fault({ kind: 'status', status: 500, run_id: id });
  await received('watch.unreachable');
  noxus.clearFaults();
  await received('watch.recovered');
  noxus.setStatus(id, 'completed');
}

/** A run that is registered again after its end, since it runs again. */
async function runsAgain({ servers: { ci }, watch, reader, received }: Player): Promise<void> {
  const id = ci.add();
  ci.setStatus(id, { completed: 'success' });
  await watch(id, 'again', { source: 'ci' });
  await reader.until(id, ({ state }) => state === 'finished', 'ci');
  ci.rerun(id);
  await watch(id, 'again', { source: 'ci' });
  await received('run.restarted');
  ci.setStatus(id, { completed: 'success' });
  await reader.until(id, ({ state }) => state === 'finished', 'ci');
}

async function stalls({ servers: { noxus, all }, watch }: Player): Promise<void> {
  const ids = Array.from(
    { length: STALLED },
    () => noxus.add({ workflow_id: STALLING_WORKFLOW, steps: [] }).id,
  );
  await Promise.all(ids.map((id) => watch(id, 'stalled')));
  // On a slow machine runs of the other workflow stall, too.
  const ofStalling = (type: string) =>
    waitFor(
      () => all.received.some((one) => one.type === type && one.body.includes(STALLING_NAME)),
      {
        describe: `${type} of ${STALLING_NAME}`,
      },
    );
  await Promise.all(['run.stalled', 'workflow.stalled'].map(ofStalling));
  for (const id of ids) noxus.setStatus(id, 'completed');
  await Promise.all(['run.recovered', 'workflow.recovered'].map(ofStalling));
}

async function playSources({ servers, watch, reader, received }: Player): Promise<void> {
  const { away, noxus, listed } = servers;
  const { id } = away.add({ workflow_id: WORKFLOW });
  await watch(id, 'away', { source: 'away' });
  await watch(noxus.add({ workflow_id: WORKFLOW }).id, 'locked', { source: 'locked' });
  await received('source.unauthorized');
  await reader.until(id, ({ run }) => run !== null, 'away');
  away.fault({ kind: 'reset' });
  await received('source.unreachable');
  away.clearFaults();
  await received('source.recovered');
  away.setStatus(id, 'completed');
  await reader.until(id, ({ state }) => state === 'finished', 'away');
  away.fault({ kind: 'status', status: 429, retry_after: 3_000 });
  await watch(away.add({ workflow_id: WORKFLOW }).id, 'paused', { source: 'away' });
  await received('source.throttled');
  away.clearFaults();
  listed.fault({ kind: 'status', status: 403, on: 'list' });
  await received('discovery.unavailable');
  listed.clearFaults();
  await received('discovery.recovered');
}

async function playEndpoints({ servers, watch, received, daemon }: Player): Promise<void> {
  const { noxus, flaky } = servers;
  const add = () => noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] }).id;
  await watch(add(), 'any', { endpoints: ['gone'] });
  await received('endpoint.disabled', 'delivery.exhausted');
  const fail = () => watch(add(), 'any', { endpoints: ['flaky'] });
  await fail();
  // One is given up before the breaker holds back the others.
  await waitFor(async () => {
    const { body } = await daemon.api('/v1/deliveries?endpoint=flaky&state=dead');
    return body.data.length > 0;
  });
  for (let nth = 1; nth < FAILURES; nth += 1) await fail();
  await received('endpoint.failing');
  flaky.recover();
  await daemon.api('/v1/endpoints/flaky/retry', {});
  await received('endpoint.recovered');
  await daemon.api('/v1/endpoints/all/test', {});
  await received('runwatch.test');
}

async function playAlert({ daemon, servers: { noxus }, watch, received }: Player): Promise<void> {
  await received('alert.firing');
  const { id: runId } = noxus.add({
    workflow_id: WORKFLOW,
    steps: [{ after_ms: 0, status: 'failed' }],
  });
  await watch(runId, 'any');
  await received('alert.updated');
  const { body } = await daemon.api('/v1/alerts');
  const id = String(body.data[0].id);
  await daemon.api(`/v1/alerts/${id}/acknowledge`, { by: 'ana', comment: 'looking' });
  await received('alert.acknowledged');
  await daemon.api(`/v1/alerts/${id}/resolve`, { by: 'ana' });
  await received('alert.resolved');
  await waitFor(async () => {
    const { body: alert } = await daemon.api(`/v1/alerts/${id}`);
    const sent = alert.history.flatMap(({ deliveries }: { deliveries: object[] }) => deliveries);
    return sent.every((one: { delivery_state: string }) => one.delivery_state === 'delivered');
  });
}

/** A batch of one run, which has failed. */
async function playBatch({ daemon, watch, received }: Player, failed: string): Promise<void> {
  const response = await fetch(`${daemon.url}/v1/batches/nightly`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ expected: 1, max_failed: 0 }),
  });
  if (response.status !== 201) throw new Error(`the batch is not set up: ${response.status}`);
  await watch(failed, 'failed', { batch: 'nightly' });
  await received('batch.failed', 'batch.completed');
}
