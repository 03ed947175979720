import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { workflowIdFrom } from '../../src/core/run/id.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { anyId, ODD_IDS } from '../support/any-id.ts';
import { tempDir } from '../support/daemon-process.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { WIDE, wideSource } from '../support/wide-source.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** Every odd id, and others. */
const ids = [...new Set([...ODD_IDS, ...fc.sample(anyId, 40)])];

/** The same in the order of their letters. */
const sorted = (some: Iterable<string>) => [...some].sort();

const source = wideSource();
const redisOfTest = testRedis();
const redis = new Redis(redisOfTest.url);
let receiver: Receiver;
let daemon: Awaited<ReturnType<typeof startInside>>;
let dataDir: string;

beforeAll(async () => {
  receiver = await startReceiver({ secrets: [SECRET] });
  dataDir = await tempDir();
  const one = { api_key: 'key', rate_limit: { requests: 10_000, per: '1s' } };
  const config = {
    data_dir: dataDir,
    redis: redisOfTest,
    // Nothing answers there.
    sources: { default: { ...one, base_url: 'http://127.0.0.1:9' }, [WIDE]: one },
    polling: { min_interval: '20ms', max_interval: '500ms' },
    egress: { allow: ['127.0.0.1/32'], require_https: false },
    endpoints: { audit: { type: 'log', events: ['run.*'] } },
  };
  daemon = await startInside(config, { kindOf: source.kindOf });
});

afterAll(async () => {
  await daemon.stop();
  await Promise.all([redis.quit(), receiver.close()]);
  await rm(dataDir, { recursive: true });
});

/** What is read of an item of a listing. */
interface Item {
  id: string;
  type: string;
  run_id: string;
  data: { run_id: string };
}

/** What is read of an answer. */
interface Body {
  run_id: string;
  source: string;
  data: Item[];
  next_cursor: string | null;
  results: { watch: { run_id: string } }[];
  states: object[];
  errors: object[];
}

interface Answer {
  status: number;
  location: string | null;
  body: Body;
}

async function api(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(new URL(path, daemon.url), init);
  const text = await response.text();
  const body = (text === '' ? {} : JSON.parse(text)) as Body;
  return { status: response.status, location: response.headers.get('location'), body };
}

const post = (path: string, body: object) =>
  api(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

const pathOf = (runId: string) => `/v1/watches/${encodeURIComponent(runId)}`;

/** All items of a listing. */
async function all(path: string, cursor = 'cursor'): Promise<Item[]> {
  const items: Item[] = [];
  let next: string | null = null;
  do {
    const from = next === null ? '' : `&${cursor}=${encodeURIComponent(next)}`;
    const { status, body } = await api(`${path}limit=50${from}`);
    expect({ path, status, body }).toMatchObject({ status: 200 });
    items.push(...body.data);
    next = body.next_cursor;
  } while (next !== null);
  return items;
}

test('a run with whatever id is registered, told about, found and erased by that id', async () => {
  // Registered one by one, and in a batch.
  const webhook = { url: receiver.url, secret: SECRET };
  const [single, batch] = [ids.slice(0, 60), ids.slice(60)];
  for (const runId of single) {
    const { status, location, body } = await post('/v1/watches', {
      run_id: runId,
      source: WIDE,
      webhook,
      endpoints: ['audit'],
    });
    expect([runId, status, body.run_id]).toEqual([runId, 201, runId]);
    expect((await api(location ?? '')).body.run_id).toBe(runId);
  }
  const { body: registered } = await post('/v1/watches/batch', {
    watches: batch.map((runId) => ({
      run_id: runId,
      source: WIDE,
      webhook,
      endpoints: ['audit'],
    })),
  });
  expect(registered.results.map(({ watch }) => watch.run_id)).toEqual(batch);
  const watched = async () => (await all('/v1/watches?')).map((one) => one.run_id);
  expect(sorted(await watched())).toEqual(sorted(ids));

  // Registered again, with their sealed webhooks, after the store lost everything.
  await waitFor(async () => (await all('/v1/watches?status=running&')).length === ids.length);
  await redis.flushdb();
  await waitFor(async () => (await watched()).length === ids.length);
  expect(sorted(await watched())).toEqual(sorted(ids));

  // Told about, once each.
  source.setStatus('failed');
  const failures = () => receiver.received.filter(({ type }) => type === 'run.failed');
  await waitFor(() => new Set(failures().map(({ id }) => id)).size >= ids.length);
  const told = failures().map(({ id, body, verified }) => {
    const { data } = JSON.parse(body) as { data: { run_id: string; run: { id: string } } };
    expect([verified, data.run.id]).toEqual([true, data.run_id]);
    return { id, runId: data.run_id };
  });
  expect(sorted(new Set(told.map(({ runId }) => runId)))).toEqual(sorted(ids));
  expect(new Set(told.map(({ id, runId }) => `${id} ${runId}`)).size).toBe(ids.length);

  for (const runId of ids) {
    const encoded = encodeURIComponent(runId);
    expect((await api(pathOf(runId))).body).toMatchObject({ run_id: runId, state: 'finished' });
    expect((await api(`${pathOf(runId)}/timeline`)).body.states).not.toHaveLength(0);

    const events = await all(`/v1/events?run_id=${encoded}&`, 'after');
    expect(new Set(events.map((event) => event.data.run_id))).toEqual(new Set([runId]));
    const failed = events.find(({ type }) => type === 'run.failed');
    if (failed === undefined) throw new Error(`no failure of ${runId}`);
    expect(told).toContainEqual({ id: failed.id, runId });
    const { body: later } = await api(`/v1/events?run_id=${encoded}&after=${failed.id}`);
    expect(later.data).toEqual([]);

    const deliveries = await all(`/v1/deliveries?run_id=${encoded}&`);
    expect(new Set(deliveries.map((one) => one.run_id))).toEqual(new Set([runId]));
    const ofEvent = await all(`/v1/deliveries?event_id=${failed.id}&`);
    expect(new Set(ofEvent.map((one) => one.run_id))).toEqual(new Set([runId]));
    const [first] = ofEvent;
    const { body: delivery } = await api(`/v1/deliveries/${first?.id}`);
    expect(delivery).toMatchObject({ id: first?.id, run_id: runId });

    const workflow = encodeURIComponent(workflowIdFrom(runId));
    const ofWorkflow = await all(`/v1/watches?workflow_id=${workflow}&`);
    expect(ofWorkflow.map((one) => one.run_id)).toEqual([runId]);
    const found = await api(`/v1/lookup?kind=run&prefix=${encoded}`);
    const isLooked = runId === NOXUS_TRAITS.canonicalId(runId);
    if (isLooked) expect(found.body.data).toEqual([{ kind: 'run', id: runId, source: WIDE }]);
  }

  // Several workflows by comma, of which ids have commas themselves.
  const three = ['a,b', 'acme/shop', 'acme/shop/123'];
  const list = three.map((id) => encodeURIComponent(id)).join(',');
  const ofThree = await all(`/v1/watches?workflow_id=${list}&`);
  expect(sorted(ofThree.map((one) => one.run_id))).toEqual(sorted(three));
  const eventsOfThree = await all(`/v1/events?workflow_id=${list}&type=run.failed&`, 'after');
  expect(sorted(new Set(eventsOfThree.map((event) => event.data.run_id)))).toEqual(sorted(three));

  // Erased without those that begin alike.
  for (const runId of ['acme/shop', 'a', 'a:ops'].filter((id) => ids.includes(id))) {
    expect((await api(`${pathOf(runId)}?purge=true`, { method: 'DELETE' })).status).toBe(204);
    expect((await api(pathOf(runId))).status).toBe(404);
    expect(await all(`/v1/events?run_id=${encodeURIComponent(runId)}&`, 'after')).toEqual([]);
  }
  expect((await api(pathOf('acme/shop/123'))).status).toBe(200);

  // Ids are no labels of metrics, and stand in the log as they are.
  const metrics = await (await fetch(new URL('/metrics', daemon.url))).text();
  expect(ODD_IDS.filter((id) => id.length > 12 && metrics.includes(id))).toEqual([]);
  const logged = daemon.lines.map((line) => JSON.parse(line) as { run_id?: string });
  expect(sorted(new Set(logged.flatMap(({ run_id: id }) => id ?? [])))).toEqual(sorted(ids));
});

test('an event stream goes on after the event of any id, with the events of its run alone', async () => {
  const { body: log } = await api('/v1/events?limit=1');
  const [first] = log.data;
  const others = ['acme/shop/123', 'a,b', '100%'].filter((id) => id !== first?.data.run_id);
  for (const runId of others) {
    const query = `run_id=${encodeURIComponent(runId)}`;
    const response = await fetch(new URL(`/v1/events/stream?${query}`, daemon.url), {
      headers: { 'last-event-id': first?.id ?? '' },
    });
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (/^data: .*\n\n/m.test(text)) break;
    }
    const [, data = ''] = /^data: (.*)$/m.exec(text) ?? [];
    expect((JSON.parse(data) as { data: object }).data).toMatchObject({ run_id: runId });
  }
});

test('without a source, a registration means the only one that can have the id, of several the default', async () => {
  const sourceOf = async (runId: string) =>
    (await post('/v1/watches', { run_id: runId })).body.source;
  const some = ids.slice(0, 60);
  for (const runId of some) {
    const expected = NOXUS_TRAITS.idProblem(runId) === null ? 'default' : WIDE;
    expect([runId, await sourceOf(runId)]).toEqual([runId, expected]);
  }
});

test.each(['acme/shop/123', 'a,b', 'x'.repeat(129)])(
  'a source refuses the id %j of another form, with its own form in words',
  async (runId) => {
    const message = `expected ${NOXUS_TRAITS.idShape}`;
    const { status, body } = await post('/v1/watches', { run_id: runId, source: 'default' });
    expect([status, body.errors]).toEqual([422, [{ path: 'run_id', message }]]);
    const read = await api(`${pathOf(runId)}?source=default`);
    expect([read.status, read.body.errors]).toEqual([422, [{ path: 'path.run_id', message }]]);
  },
);
