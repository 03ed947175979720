import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { workflowOfStory } from '../../src/simulator/workflow.ts';
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
import { dumpRedis } from '../support/dump-redis.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const WORKFLOW = '3f0c1e0a-6f5e-4a53-9a39-0f6f0a3f7f11';
const redis = testRedis();

interface Page {
  data: WatchJson[];
  next_cursor: string | null;
}

let noxus: Simulator;
let hooks: Receiver;
let late: Receiver;
let daemon: DaemonProcess;
/** The same, but what has ended is soon forgotten. */
let forgetful: DaemonProcess;

function configOf(prefix: string, changes: Record<string, unknown> = {}) {
  const source = {
    base_url: noxus.url,
    api_key: noxus.apiKey,
    rate_limit: { requests: 10_000, per: '1s' },
  };
  return {
    redis: { prefix },
    sources: { default: source, other: source },
    // So long that a run is polled at its registration, and then only on request.
    polling: { gone_after: '300ms', min_interval: '10m', max_interval: '10m' },
    endpoints: {
      hooks: { type: 'webhook', url: hooks.url, secret: SECRET, default: true },
      late: { type: 'webhook', url: late.url, secret: SECRET },
      audit: { type: 'log' },
    },
    delivery: { signing_secret: SECRET },
    egress: { allow: ['127.0.0.1/32'] },
    ...changes,
  };
}

beforeAll(async () => {
  [noxus, hooks, late] = await Promise.all([
    startSimulator(),
    startReceiver({ secrets: [SECRET] }),
    startReceiver({ secrets: [SECRET] }),
  ]);
  const env = { REDIS_URL: redis.url };
  [daemon, forgetful] = await Promise.all([
    startDaemonProcess({ env, config: configOf(redis.prefix) }),
    startDaemonProcess({
      env,
      config: configOf(`${redis.prefix}-short`, { watches: { retention: '1s' } }),
    }),
  ]);
});

afterAll(async () => {
  await stopAll([daemon, forgetful]);
  await Promise.all([hooks, late, noxus].map((server) => server.close()));
});

const aRun = (status = 'queued', workflow_id?: string) =>
  noxus.add({ steps: [{ after_ms: 0, status }], ...(workflow_id !== undefined && { workflow_id }) })
    .id;

const watch = (body: object) => daemon.api('/v1/watches', body);

const watched = async (runId: string) => waitForWatch(daemon, runId, ({ polls }) => polls > 0);

const webhooksAbout = (receiver: Receiver, runId: string) =>
  receiver.received.filter(({ body }) => body.includes(runId));

async function pollNow(runId: string) {
  const { polls } = await watchOf(daemon, runId);
  const { status } = await daemon.api(`/v1/watches/${runId}/poll`, undefined, 'POST');
  expect(status).toBe(202);
  return waitForWatch(daemon, runId, (now) => now.polls > polls);
}

describe('batch registration', () => {
  test('a batch of 1000 registers each run in order, and notifies of each', async () => {
    const ids = Array.from({ length: 1_000 }, () => aRun('completed'));
    const watches = ids.map((run_id) => ({ run_id, endpoints: ['audit'] }));
    const { status, body } = await daemon.api('/v1/watches/batch', { watches });
    expect(status).toBe(200);
    expect(body.results.map((one: { run_id: string }) => one.run_id)).toEqual(ids);
    expect(body.results.every((one: { status: number }) => one.status === 201)).toBe(true);
    const linesOf = () =>
      daemon.log().flatMap(({ msg, event }) => {
        const { data } = (event ?? {}) as { data?: { run_id: string } };
        return msg === 'run.completed' && data !== undefined ? [data.run_id] : [];
      });
    await waitFor(() => linesOf().length >= 1_000, {
      describe: () => `1000 lines, have ${linesOf().length}`,
    });
    expect(linesOf().sort()).toEqual(ids.sort());
  });

  test('a batch reports each invalid item, and registers the others', async () => {
    const [first, last] = [aRun(), aRun()];
    const { status, body } = await daemon.api('/v1/watches/batch', {
      watches: [
        { run_id: first },
        { run_id: '../etc/passwd' },
        { endpoints: ['hooks'] },
        'nonsense',
        { run_id: aRun(), endpoints: ['nobody'] },
        { run_id: aRun(), source: 'elsewhere' },
        { run_id: aRun(), timeout: 'soon' },
        { run_id: aRun(), colour: 'green' },
        { run_id: aRun(), webhook: { url: 'http://169.254.169.254/' } },
        { run_id: last },
      ],
    });
    expect(status).toBe(200);
    const results = body.results as {
      status: number;
      watch?: WatchJson;
      error?: { code: string; errors: { path: string }[] };
    }[];
    const paths = results.map((one) => one.error?.errors.map(({ path }) => path));
    expect(results.map((one) => one.status)).toEqual([201, ...Array(8).fill(422), 201]);
    expect(paths.slice(1, -1).map((list) => list?.[0])).toEqual([
      'watches.1.run_id',
      'watches.2.run_id',
      'watches.3',
      'watches.4.endpoints.0',
      'watches.5.source',
      'watches.6.timeout',
      'watches.7.colour',
      'watches.8.webhook.url',
    ]);
    for (const runId of [first, last]) expect(await watched(runId)).toMatchObject({ polls: 1 });
  });

  test('a batch with a run twice creates one watch with both subscriptions', async () => {
    const runId = aRun();
    const { body } = await daemon.api('/v1/watches/batch', {
      watches: [
        { run_id: runId, endpoints: ['hooks'], metadata: { turn: 'first' } },
        { run_id: runId, endpoints: ['late'], metadata: { turn: 'second' } },
      ],
    });
    expect(body.results.map((one: { status: number }) => one.status)).toEqual([201, 200]);
    expect(body.results[1].watch).toMatchObject({
      metadata: { turn: 'second' },
      subscriptions: [{ endpoint: 'hooks' }, { endpoint: 'late' }],
    });
    await watched(runId);
    expect(noxus.requests.run(runId).count).toBe(1);
  });

  test('a batch of more than 1000 is refused', async () => {
    const watches = Array.from({ length: 1_001 }, (_, at) => ({ run_id: `too-many-${at}` }));
    expect(await daemon.api('/v1/watches/batch', { watches })).toMatchObject({ status: 422 });
    expect(await daemon.api('/v1/watches/too-many-0')).toMatchObject({ status: 404 });
  });
});

describe('repeated registration', () => {
  test('a repeated registration merges subscriptions by name and URL, and replaces metadata and timeout', async () => {
    const runId = aRun();
    const url = `${late.url}/own`;
    const first = await watch({
      run_id: runId,
      endpoints: ['hooks'],
      webhook: { url, events: ['run.failed'] },
      metadata: { order: '1', colour: 'red' },
      timeout: '1h',
    });
    expect(first.status).toBe(201);
    await watched(runId);

    const second = await watch({
      run_id: runId,
      endpoints: ['late', 'hooks'],
      webhook: { url, events: ['run.completed'] },
      metadata: { order: '2' },
      timeout: '2h',
    });
    expect(second).toMatchObject({
      status: 200,
      body: {
        state: 'active',
        registered_at: first.body.registered_at,
        metadata: { order: '2' },
        polls: 1,
      },
    });
    expect(second.body.metadata).toEqual({ order: '2' });
    expect(second.body.subscriptions).toMatchObject([
      { endpoint: 'hooks' },
      // Its path may be a secret, which no answer shows.
      { url: expect.stringMatching(`^${late.url}/…#[0-9a-f]{6}$`), events: ['run.completed'] },
      { endpoint: 'late' },
    ]);
    const timeout = Date.parse(second.body.timeout_at) - Date.parse(first.body.timeout_at);
    expect(timeout).toBeGreaterThanOrEqual(3_600_000);

    const third = await watch({ run_id: runId, endpoints: ['hooks'] });
    expect(third).toMatchObject({
      status: 200,
      body: { metadata: { order: '2' }, timeout_at: second.body.timeout_at },
    });
    expect(third.body.subscriptions).toEqual(second.body.subscriptions);
  });

  test('an endpoint named in several registrations of a run gets one event', async () => {
    const runId = aRun('running');
    for (let time = 0; time < 3; time += 1) await watch({ run_id: runId, endpoints: ['hooks'] });
    await watched(runId);
    noxus.setStatus(runId, 'completed');
    await pollNow(runId);
    await watch({ run_id: runId, endpoints: ['hooks'] });
    await waitUntilAllDelivered(daemon);
    expect(webhooksAbout(hooks, runId).map(({ type }) => type)).toEqual(['run.completed']);
  });

  test('a repeated registration with a shorter timeout expires the watch in time', async () => {
    const runId = aRun('running');
    await watch({ run_id: runId });
    await watched(runId);
    const { body } = await watch({ run_id: runId, timeout: '1s' });
    const expired = await waitForWatch(daemon, runId, ({ state }) => state === 'expired');
    expect(expired.timeout_at).toBe(body.timeout_at);
    await waitUntilAllDelivered(daemon);
    expect(webhooksAbout(hooks, runId).map(({ type }) => type)).toEqual(['watch.expired']);
  });

  test('a repeated registration with a shorter max_delay polls within that delay', async () => {
    const runId = aRun('running');
    await watch({ run_id: runId });
    await watched(runId);
    await watch({ run_id: runId, max_delay: '1s' });
    noxus.setStatus(runId, 'completed');
    await waitForWatch(daemon, runId, ({ state }) => state === 'finished');
  });
});

describe('ended subscription', () => {
  let own: Receiver;
  let isWell = false;

  beforeAll(async () => {
    own = await startReceiver({ secrets: [], respond: () => (isWell ? 204 : 500) });
  });

  afterAll(() => own.close());

  test('an ended subscription gets its planned deliveries and no new ones', async () => {
    const runId = aRun('awaiting_human_feedback');
    await watch({ run_id: runId, endpoints: ['hooks'], webhook: { url: `${own.url}/secret` } });
    await waitFor(() => own.received.length === 1);
    const [, webhook] = (await watchOf(daemon, runId)).subscriptions as { url: string }[];
    const query = `endpoint=${encodeURIComponent(webhook?.url ?? '')}`;
    const ended = await daemon.api(`/v1/watches/${runId}?${query}`, undefined, 'DELETE');
    expect(ended.status).toBe(204);
    expect((await watchOf(daemon, runId)).subscriptions).toMatchObject([{ endpoint: 'hooks' }]);

    isWell = true;
    const planned = `/v1/deliveries?run_id=${runId}&${query}`;
    const [delivery] = await readAll<DeliveryJson>(daemon, planned);
    await daemon.api(`/v1/deliveries/${delivery?.id}/redeliver`, undefined, 'POST');
    await waitFor(() => own.received.length === 2);
    noxus.setStatus(runId, 'completed');
    // 409 where a list or stream has shown the end already.
    await daemon.api(`/v1/watches/${runId}/poll`, undefined, 'POST');
    await waitForWatch(daemon, runId, ({ state }) => state === 'finished');
    await waitUntilAllDelivered(daemon);
    const all = await readAll<DeliveryJson>(daemon, planned);
    expect(all).toMatchObject([{ id: delivery?.id, state: 'delivered', attempt_count: 2 }]);
  });
});

describe('late subscription', () => {
  test('a late subscription to an ended run gets the same event at once', async () => {
    const runId = aRun('failed');
    await watch({ run_id: runId, endpoints: ['hooks'] });
    await waitFor(() => webhooksAbout(hooks, runId).length === 1);
    const { status, body } = await watch({ run_id: runId, endpoints: ['late'] });
    expect(status).toBe(200);
    expect(body.state).toBe('finished');
    await waitFor(() => webhooksAbout(late, runId).length === 1);
    expect(webhooksAbout(late, runId)[0]?.body).toBe(webhooksAbout(hooks, runId)[0]?.body);
    expect(await eventsOf(daemon, runId)).toHaveLength(1);
    expect(noxus.requests.run(runId).count).toBe(1);
  });

  test('a late subscription to a waiting run is notified at once, and not after the wait', async () => {
    const runId = aRun('awaiting_human_feedback');
    await watch({ run_id: runId, endpoints: ['hooks'] });
    await waitFor(() => webhooksAbout(hooks, runId).length === 1);
    await watch({ run_id: runId, endpoints: ['late'] });
    await waitFor(() => webhooksAbout(late, runId).length === 1);
    expect(webhooksAbout(late, runId)[0]).toMatchObject({
      type: 'run.awaiting_human_feedback',
      id: webhooksAbout(hooks, runId)[0]?.id,
    });

    // Progress shows that the run has moved on: no second poll has to agree.
    noxus.setStatus(runId, 'running', 60);
    await pollNow(runId);
    await watch({ run_id: runId, endpoints: ['audit'] });
    await waitUntilAllDelivered(daemon);
    const toLog = await readAll<DeliveryJson>(
      daemon,
      `/v1/deliveries?run_id=${runId}&endpoint=audit`,
    );
    expect(toLog).toEqual([]);
  });

  test('a late subscription to a gone run watches it again, with the earlier subscriptions', async () => {
    const { id } = noxus.add({ rejected: true });
    await watch({ run_id: id, endpoints: ['hooks'] });
    // Nothing is polled here but by hand, and it takes several polls to believe it.
    await waitFor(async () => {
      if (webhooksAbout(hooks, id).length === 1) return true;
      await pollNow(id);
      return false;
    });
    const { status, body } = await watch({ run_id: id, endpoints: ['late'] });
    expect({ status, state: body.state }).toEqual({ status: 201, state: 'active' });
    expect(body.subscriptions).toMatchObject([{ endpoint: 'hooks' }, { endpoint: 'late' }]);
  });

  test('a late subscription that does not want the past event gets none', async () => {
    const runId = aRun('completed');
    await watch({ run_id: runId, endpoints: ['hooks'] });
    await waitForWatch(daemon, runId, ({ state }) => state === 'finished');
    await watch({ run_id: runId, webhook: { url: late.url, events: ['run.failed'] } });
    await waitUntilAllDelivered(daemon);
    expect(webhooksAbout(late, runId)).toEqual([]);
  });
});

describe('run without a watch', () => {
  test('an unwatched run is not polled, and can be registered again', async () => {
    const runId = aRun('running');
    await watch({ run_id: runId, metadata: { life: 'first' } });
    await watched(runId);
    const removed = await daemon.api(`/v1/watches/${runId}`, undefined, 'DELETE');
    expect(removed).toEqual({ status: 204, body: '' });
    expect(await watchOf(daemon, runId)).toMatchObject({ state: 'cancelled', next_poll_at: null });
    const poll = await daemon.api(`/v1/watches/${runId}/poll`, undefined, 'POST');
    expect(poll).toMatchObject({ status: 409, body: { code: 'watch_not_active' } });

    noxus.setStatus(runId, 'completed');
    const { status, body } = await watch({ run_id: runId, metadata: { life: 'second' } });
    expect(status).toBe(201);
    expect(body).toMatchObject({ state: 'active', run: null, polls: 0, sequence: 0 });
    await waitForWatch(daemon, runId, ({ state }) => state === 'finished');
    await waitFor(() => webhooksAbout(hooks, runId).length === 1);
    expect(await eventsOf(daemon, runId)).toMatchObject([
      { type: 'run.completed', data: { sequence: 1, watch: { metadata: { life: 'second' } } } },
    ]);
    expect(noxus.requests.run(runId).count).toBe(2);
  });

  test('a run that is registered again continues its sequence numbers', async () => {
    const runId = aRun('awaiting_human_feedback');
    await watch({ run_id: runId });
    await watched(runId);
    await daemon.api(`/v1/watches/${runId}`, undefined, 'DELETE');
    await watch({ run_id: runId });
    await watched(runId);
    const events = await eventsOf(daemon, runId);
    expect(events.map(({ data }) => data.sequence)).toEqual([1, 2]);
    expect(new Set(events.map(({ id }) => id)).size).toBe(2);
    await waitFor(() => webhooksAbout(hooks, runId).length === 2);
  });

  test('unwatching an unknown run answers 404', async () => {
    for (const [path, method] of [
      ['/v1/watches/never-there', 'GET'],
      ['/v1/watches/never-there', 'DELETE'],
      ['/v1/watches/never-there/poll', 'POST'],
    ] as const) {
      expect(await daemon.api(path, undefined, method)).toMatchObject({
        status: 404,
        body: { code: 'watch_not_found', status: 404 },
      });
    }
  });
});

describe('immediate poll', () => {
  test('an immediate poll detects a change at once', async () => {
    const runId = aRun('running');
    await watch({ run_id: runId });
    const before = await watched(runId);
    expect(Date.parse(before.next_poll_at ?? '')).toBeGreaterThan(Date.now() + 60_000);
    noxus.setStatus(runId, 'stopped');
    expect(await pollNow(runId)).toMatchObject({ state: 'finished', polls: 2 });
  });

  test('many immediate polls of a run never have two requests in flight', async () => {
    const runId = aRun('running');
    await watch({ run_id: runId });
    await watched(runId);
    noxus.fault({ kind: 'stall', ms: 200, run_id: runId });
    const path = `/v1/watches/${runId}/poll`;
    await Promise.all(Array.from({ length: 20 }, () => daemon.api(path, undefined, 'POST')));
    await waitForWatch(daemon, runId, ({ polls }) => polls >= 2);
    expect(noxus.requests.run(runId).maxInFlight).toBe(1);
  });
});

describe('watch after its timeout', () => {
  test('a watch expires with an event after its timeout, and can be registered again', async () => {
    const runId = aRun('running');
    const { body } = await watch({ run_id: runId, timeout: '1s' });
    const expired = await waitForWatch(daemon, runId, ({ state }) => state === 'expired');
    expect(expired.next_poll_at).toBeNull();
    const [event] = await eventsOf(daemon, runId);
    expect(event).toMatchObject({ type: 'watch.expired', data: { run: { status: 'running' } } });
    expect(Date.parse(event?.timestamp ?? '')).toBeGreaterThanOrEqual(Date.parse(body.timeout_at));
    const again = await watch({ run_id: runId });
    expect(again).toMatchObject({ status: 201, body: { state: 'active', sequence: 1 } });
  });
});

describe('list of watches', () => {
  let ids: string[];

  beforeAll(async () => {
    ids = Array.from({ length: 5 }, (_, at) => aRun(at < 3 ? 'running' : 'completed', WORKFLOW));
    for (const run_id of ids) await watch({ run_id, endpoints: ['audit'] });
    await Promise.all(ids.map(watched));
    await watch({ run_id: ids[0], source: 'other', endpoints: ['audit'] });
    await waitFor(async () => {
      const { body } = await daemon.api(`/v1/watches/${ids[0]}?source=other`);
      return body.polls > 0;
    });
  });

  const list = async (query: string) =>
    (await readAll<WatchJson>(daemon, `/v1/watches?workflow_id=${WORKFLOW}${query}`)).map(
      ({ run_id }) => run_id,
    );

  test('the list of watches is newest first', async () => {
    expect(await list('')).toEqual([ids[0], ...ids.toReversed()]);
  });

  test('the list of watches filters by source, state and status, alone and together', async () => {
    const [a, b, c, d, e] = ids;
    expect(await list('&source=other')).toEqual([a]);
    expect(await list('&source=default')).toEqual([e, d, c, b, a]);
    expect(await list('&status=completed')).toEqual([e, d]);
    expect(await list('&state=active&source=default')).toEqual([c, b, a]);
    expect(await list('&state=active&status=completed')).toEqual([]);
    expect(await list('&state=finished&status=completed&source=default')).toEqual([e, d]);
  });

  test('the list of watches contains every watch once, for any page size', async () => {
    for (const limit of [1, 2, 5, 6]) {
      const seen: string[] = [];
      let cursor: string | null = '';
      while (cursor !== null) {
        const from: string = cursor === '' ? '' : `&cursor=${cursor}`;
        const path = `/v1/watches?workflow_id=${WORKFLOW}&limit=${limit}${from}`;
        const { body } = await daemon.api<Page>(path);
        expect(body.data.length).toBeLessThanOrEqual(limit);
        seen.push(...body.data.map((one) => `${one.source}/${one.run_id}`));
        cursor = body.next_cursor;
      }
      expect(seen).toEqual([`other/${ids[0]}`, ...ids.toReversed().map((id) => `default/${id}`)]);
    }
  });

  test('the list of watches refuses an invalid cursor, and a limit over 200', async () => {
    for (const query of ['cursor=yesterday', 'limit=201', 'limit=0', 'state=asleep']) {
      expect(await daemon.api(`/v1/watches?${query}`)).toMatchObject({ status: 422 });
    }
  });
});

describe('names of workflows', () => {
  test('a workflow without a configured name has the one that Noxus lists', async () => {
    const runId = noxus.add({ workflow_id: workflowOfStory('fails') }).id;
    await daemon.api('/v1/watches', { run_id: runId, endpoints: ['audit'] });
    await waitFor(
      async () => (await daemon.api(`/v1/watches/${runId}`)).body.workflow_name === 'fails',
      { describe: 'the name of the workflow' },
    );
    noxus.setStatus(runId, 'failed', 10);
    await daemon.api(`/v1/watches/${runId}/poll`, undefined, 'POST');
    await waitForWatch(daemon, runId, ({ state }) => state === 'finished');
    const events = await eventsOf(daemon, runId);
    expect(events.at(-1)?.data.workflow_name).toBe('fails');
    const { body } = await daemon.api('/v1/workflows');
    expect(body.data.map(({ name }: { name: string }) => name)).toContain('fails');
  });

  test('the first event after a restart has the name that an earlier process learned', async () => {
    await daemon.stop();
    daemon = await startDaemonProcess({
      env: { REDIS_URL: redis.url },
      config: configOf(redis.prefix),
      dataDir: daemon.dataDir,
    });
    const runId = aRun('failed', workflowOfStory('fails'));
    await daemon.api('/v1/watches', { run_id: runId, endpoints: ['audit'] });
    await waitForWatch(daemon, runId, ({ state }) => state === 'finished');
    const [event] = await eventsOf(daemon, runId);
    expect(event?.data.workflow_name).toBe('fails');
  });
});

describe('ended watch after the retention', () => {
  test('after the retention no watch, event, delivery or key of a run is left in Redis', async () => {
    const gone = [
      aRun('completed'),
      aRun('awaiting_human_feedback'),
      noxus.add({ rejected: true }).id,
    ];
    const kept = aRun('running');
    const register = (run_id: string) =>
      forgetful.api('/v1/watches', {
        run_id,
        endpoints: ['hooks', 'audit'],
        webhook: { url: late.url, secret: SECRET, events: ['*'] },
      });
    for (const runId of [...gone, kept]) await register(runId);
    const waiting = gone[1] ?? '';
    await waitForWatch(forgetful, waiting, ({ polls }) => polls > 0);
    await forgetful.api(`/v1/watches/${waiting}`, undefined, 'DELETE');
    await waitForWatch(forgetful, kept, ({ polls }) => polls > 0);
    // Nothing is polled here but by hand, and it takes several polls to believe a 422.
    await waitFor(async () => {
      const path = `/v1/watches/${gone[2]}`;
      const { status, body } = await forgetful.api(path);
      if (status === 404 || body.state === 'gone') return true;
      await forgetful.api(`${path}/poll`, undefined, 'POST');
      return false;
    });

    for (const runId of gone) {
      await waitFor(async () => (await forgetful.api(`/v1/watches/${runId}`)).status === 404, {
        describe: `the watch of ${runId} to be forgotten`,
      });
      expect(await eventsOf(forgetful, runId)).toEqual([]);
      expect(await readAll(forgetful, `/v1/deliveries?run_id=${runId}`)).toEqual([]);
    }
    // BullMQ notes the latest job ids in a stream of bounded length, which is no record of ours.
    const dumped = async () =>
      (await dumpRedis(redis.url, `${redis.prefix}-short`)).filter(
        ({ key }) => !key.endsWith(':events'),
      );
    const isOfGone = ({ key, text }: { key: string; text: string }) =>
      gone.some((runId) => `${key} ${text}`.includes(runId));
    // A stream is given back a moment after the watch of its run is forgotten.
    const ours = await waitFor(async () => {
      const dump = await dumped();
      return !dump.some((one) => one.key.endsWith(':streams:default') && isOfGone(one)) && dump;
    });
    expect(ours.filter(isOfGone)).toEqual([]);
    expect(ours.some(({ text }) => text.includes(kept))).toBe(true);
    expect(ours.filter(({ key }) => /:(event|delivery|attempts|lane):/.test(key))).toEqual([]);
    const { body } = await forgetful.api('/v1/endpoints');
    for (const { counts } of body.data) {
      expect(Object.values(counts).every((count) => count === 0)).toBe(true);
    }
  });
});
