import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RouteText } from '../../src/http/schemas/routes.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { callAs } from '../support/call-as.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const ALL = 'token-of-all-sources';
const ONE = 'token-of-one-source';

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;
/** One run is in the source of the token, one in the other, one in both. */
const runs = { mine: '', theirs: '', both: '' };
let theirDelivery = '';

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [SECRET] });
  const source = { base_url: noxus.url, api_key: noxus.apiKey };
  daemon = await startDaemonProcess({
    config: {
      sources: { mine: source, theirs: source },
      auth: {
        tokens: [
          { name: 'all', token: ALL },
          { name: 'one', token: ONE, sources: ['mine'] },
        ],
        public: [],
      },
      polling: { min_interval: '50ms', max_interval: '100ms' },
      endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET } },
    },
  });
  const add = () => noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] }).id;
  Object.assign(runs, { mine: add(), theirs: add(), both: add() });
  const watch = (run_id: string, of: string) =>
    call(ALL, 'POST', '/v1/watches', { run_id, source: of });
  await watch(runs.mine, 'mine');
  await watch(runs.theirs, 'theirs');
  await watch(runs.both, 'mine');
  await watch(runs.both, 'theirs');
  await waitFor(async () => {
    const { body } = await call(ALL, 'GET', '/v1/deliveries?state=delivered');
    const found = body.data as { id: string; run_id: string }[];
    theirDelivery = found.find(({ run_id }) => run_id === runs.theirs)?.id ?? '';
    return found.length === 4;
  });
});

afterAll(async () => {
  await stopAll([daemon]);
  await receiver.close();
  await noxus.close();
});

const call = (token: string, method: string, path: string, given?: unknown) =>
  callAs(daemon, token, method, path, given);

type Refused = [path: string, status: number, body?: object];

const silenceOf = (source?: string) => ({
  matchers: { rule: 'any', ...(source !== undefined && { source }) },
  until: '1h',
  by: '@me',
  comment: 'an upgrade',
});

/**
 * What each route answers where a call means what is of another source, or the title of the test of this file that
 * says so. A path goes on from that of its route.
 */
const FOREIGN: Record<RouteText, readonly Refused[] | string> = {
  'POST /v1/watches': [['', 422, { run_id: 'r-1', source: 'theirs' }]],
  'POST /v1/watches/batch':
    'a run that both sources have is that of its source, and it registers there without a name',
  'GET /v1/watches': [
    ['?source=theirs', 403],
    ['?source=nowhere', 403],
    ['?status=Failed', 422],
    ['?workflow_id=unheard-of', 422],
  ],
  'GET /v1/watches/{run_id}': [
    ['', 404],
    ['?source=theirs', 403],
  ],
  'GET /v1/watches/{run_id}/timeline': [['', 404]],
  'DELETE /v1/watches/{run_id}': [['', 404]],
  'POST /v1/watches/{run_id}/poll': [['', 404]],
  'POST /v1/watches/{run_id}/stop': [
    ['', 404],
    ['?source=theirs', 403],
  ],
  'POST /v1/watches/{run_id}/acknowledge': [['', 404, { by: '@me' }]],
  'DELETE /v1/watches/{run_id}/acknowledge': [['', 404]],
  'GET /v1/batches': 'GET %s lists what belongs to it: %d',
  'GET /v1/batches/{name}': [['', 404]],
  'PUT /v1/batches/{name}':
    'a batch of a limited token is another one than that of its name elsewhere',
  'POST /v1/batches/{name}/close': [['', 404]],
  'DELETE /v1/batches/{name}': [['', 404]],
  'GET /v1/events': 'GET %s lists what belongs to it: %d',
  'GET /v1/events/stream': 'the event stream gives the events of the source of the token',
  'GET /v1/deliveries': [['?source=nowhere', 403]],
  'GET /v1/deliveries/{id}': [['', 404]],
  'POST /v1/deliveries/{id}/redeliver': [['', 404]],
  'POST /v1/deliveries/redeliver':
    'redelivery of a range sends what belongs to the source of the token',
  'GET /v1/alerts': 'GET %s lists what belongs to it: %d',
  'GET /v1/alerts/{id}': [['', 404]],
  'POST /v1/alerts/{id}/acknowledge': [['', 404, { by: '@me' }]],
  'DELETE /v1/alerts/{id}/acknowledge': [['', 404]],
  'POST /v1/alerts/{id}/resolve': [['', 404, { by: '@me' }]],
  'GET /v1/silences': 'a silence of a limited token matches nothing of other sources',
  'POST /v1/silences': [['', 403, silenceOf('theirs')]],
  'DELETE /v1/silences/{id}': 'a silence of a limited token matches nothing of other sources',
  'POST /v1/silences/preview': [['', 403, { matchers: { source: 'theirs' } }]],
  'GET /v1/rules': [['', 403]],
  'POST /v1/rules/test': [['', 403, {}]],
  'GET /v1/endpoints': 'the endpoints of a limited token count the deliveries of its source',
  'POST /v1/endpoints/{name}/test': [['', 403]],
  'POST /v1/endpoints/{name}/pause': [['', 403]],
  'POST /v1/endpoints/{name}/resume': [['', 403]],
  'POST /v1/endpoints/{name}/retry': [['', 403]],
  'POST /v1/endpoints/{name}/rotate': [['', 403]],
  'GET /v1/endpoints/{name}/secret': [['', 403]],
  'GET /v1/webhooks': [
    ['?source=nowhere', 403],
    ['?source=theirs', 403],
  ],
  'DELETE /v1/webhooks': [
    ['', 422],
    ['?source=theirs', 403],
  ],
  'GET /v1/lookup': 'GET %s lists what belongs to it: %d',
  'GET /v1/workflows': [['?source=nowhere', 403]],
  'GET /v1/polling': [['?source=theirs', 403]],
  'GET /v1/processes': [['', 200]],
  'GET /v1/store': [['', 200]],
  'GET /v1/sources': 'GET %s lists what belongs to it: %d',
  'POST /v1/sources/{name}/resume': [['', 404]],
  'GET /v1/audit': 'the audit log shows a token what concerns its source alone',
  'POST /v1/sources/{name}/acknowledge': [['', 404, { by: '@me' }]],
  'DELETE /v1/sources/{name}/acknowledge': [['', 404]],
  'POST /v1/workflows/{source}/{workflow_id}/acknowledge': [['', 404, { by: '@me' }]],
  'DELETE /v1/workflows/{source}/{workflow_id}/acknowledge': [['', 404]],
  'GET /v1/attention': 'GET %s lists what belongs to it: %d',
};

/** The names of another source's run, delivery, source and endpoint in paths of routes. */
const THEIR_NAMES: Record<string, string> = {
  '/v1/watches/': '{theirs}',
  '/v1/deliveries/': '{delivery}',
  '/v1/alerts/': 'alr_theirs',
  '/v1/batches/': 'theirs',
  '/v1/sources/': 'theirs',
  '/v1/endpoints/': 'hooks',
  '/v1/workflows/': 'theirs',
};

const CALLS = Object.entries(FOREIGN).flatMap(([route, calls]) => {
  const [method = '', path = ''] = route.split(' ');
  const [, name = ''] = Object.entries(THEIR_NAMES).find(([start]) => path.startsWith(start)) ?? [];
  const named = path.replace(/\{\w+\}/, name).replace('{workflow_id}', 'wf-1');
  return typeof calls === 'string'
    ? []
    : calls.map(([rest, status, body]) => ({ method, path: `${named}${rest}`, status, body }));
});

/** What a path means by these names. */
const withIds = (path: string) =>
  path
    .replace('{theirs}', runs.theirs)
    .replace('{mine}', runs.mine)
    .replace('{both}', runs.both)
    .replace('{delivery}', theirDelivery);

test('each route without calls of another source names a test of this file that has them', () => {
  const text = readFileSync(import.meta.filename, 'utf8');
  const titles = Object.values(FOREIGN).filter((calls) => typeof calls === 'string');
  expect(titles.filter((title) => !text.includes(`('${title}'`))).toEqual([]);
});

describe('a token that is limited to one source', () => {
  test.each([
    ['/v1/watches', 2],
    ['/v1/watches?source=mine', 2],
    ['/v1/watches?order=changed&status=failed', 2],
    ['/v1/events', 2],
    ['/v1/events?type=run.*', 2],
    ['/v1/events?run_id={theirs}', 0],
    ['/v1/events?run_id={both}', 1],
    ['/v1/deliveries', 2],
    ['/v1/deliveries?run_id={theirs}', 0],
    ['/v1/deliveries?endpoint=hooks&state=delivered', 2],
    // The failures of its runs.
    ['/v1/attention', 1],
    ['/v1/sources', 1],
    ['/v1/endpoints', 1],
    ['/v1/alerts', 0],
    ['/v1/silences', 0],
    ['/v1/batches', 0],
    ['/v1/webhooks', 0],
    ['/v1/webhooks?token=all&source=mine', 0],
    ['/v1/lookup?kind=run&prefix={theirs}', 0],
    ['/v1/lookup?kind=run&prefix={both}', 1],
    ['/v1/lookup?kind=delivery&prefix={delivery}', 0],
  ])('GET %s lists what belongs to it: %d', async (path, count) => {
    const { status, text, body } = await call(ONE, 'GET', withIds(path));
    expect(status).toBe(200);
    expect(body.data).toHaveLength(count);
    expect(body.total ?? count).toBe(count);
    expect(text).not.toContain('theirs');
    expect(text).not.toContain(runs.theirs);
  });

  test.each([
    ['/v1/watches?limit=1', 'cursor'],
    ['/v1/deliveries?limit=1', 'cursor'],
    ['/v1/events?limit=1', 'after'],
  ])(
    'a cursor of GET %s says nothing of other sources, and leads to the next page',
    async (path, name) => {
      const [first, again] = [await call(ONE, 'GET', path), await call(ONE, 'GET', path)];
      const cursor = String(first.body.next_cursor);
      // In clear it would be the same each time, and count the records of all sources.
      expect(again.body.next_cursor).not.toBe(cursor);
      const next = await call(ONE, 'GET', `${path}&${name}=${cursor}`);
      expect([next.status, next.body.data.length]).toEqual([200, 1]);
      expect(next.body.data).not.toEqual(first.body.data);
      const clear = String((await call(ALL, 'GET', path)).body.next_cursor);
      const { status, body } = await call(ONE, 'GET', `${path}&${name}=${clear}`);
      expect([status, body.code]).toEqual([422, 'invalid_cursor']);
    },
  );

  test('the endpoints of a limited token count the deliveries of its source', async () => {
    const { body } = await call(ONE, 'GET', '/v1/endpoints');
    expect(body.data[0].counts.delivered).toBe(2);
    expect((await call(ALL, 'GET', '/v1/endpoints')).body.data[0].counts.delivered).toBe(4);
  });

  test.each([...CALLS, { method: 'GET', path: '/metrics', status: 403, body: undefined }])(
    '$method $path of another source is answered $status',
    async ({ method, path, status: expected, body }) => {
      const { status, text } = await call(ONE, method, withIds(path), body);
      expect(status).toBe(expected);
      expect(text).not.toMatch(/sources? (are|is)? ?theirs|there are: .*theirs/);
      const untouched = await call(ALL, 'GET', `/v1/watches/${runs.theirs}`);
      expect(untouched.body).toMatchObject({ state: 'finished', acknowledged: null });
    },
  );

  test('a run that both sources have is that of its source, and it registers there without a name', async () => {
    expect((await call(ALL, 'GET', `/v1/watches/${runs.both}`)).status).toBe(409);
    const { body } = await call(ONE, 'GET', `/v1/watches/${runs.both}`);
    expect(body.source).toBe('mine');
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running' }] });
    const registered = await call(ONE, 'POST', '/v1/watches/batch', {
      watches: [{ run_id: id }, { run_id: id, source: 'theirs' }],
    });
    expect(registered.body.results).toMatchObject([
      { status: 201, watch: { source: 'mine' } },
      { status: 422, error: { errors: [{ path: 'watches.1.source' }] } },
    ]);
    await call(ONE, 'DELETE', `/v1/watches/${id}`);
  });

  test('a batch of a limited token is another one than that of its name elsewhere', async () => {
    const theirs = await call(ALL, 'PUT', '/v1/batches/nightly', { expected: 40 });
    const mine = await call(ONE, 'PUT', '/v1/batches/nightly', { expected: 2 });
    expect([theirs.status, mine.status]).toEqual([201, 201]);
    expect(mine.body).toMatchObject({ sources: ['mine'], expected: 2 });
    const { body } = await call(ONE, 'GET', '/v1/batches');
    expect(body.data.map(({ id }: { id: string }) => id)).toEqual([mine.body.id]);
    expect((await call(ONE, 'DELETE', `/v1/batches/${theirs.body.id}`)).status).toBe(404);
    expect((await call(ONE, 'DELETE', '/v1/batches/nightly')).status).toBe(204);
    expect((await call(ONE, 'GET', '/v1/batches/nightly')).status).toBe(404);
    expect((await call(ALL, 'GET', '/v1/batches/nightly')).body.expected).toBe(40);
    expect((await call(ALL, 'DELETE', '/v1/batches/nightly')).status).toBe(204);
  });

  test('a silence of a limited token matches nothing of other sources', async () => {
    const theirs = await call(ALL, 'POST', '/v1/silences', silenceOf('theirs'));
    const { body } = await call(ONE, 'POST', '/v1/silences', silenceOf());
    expect(body.matchers).toEqual({ rule: ['any'], source: ['mine'] });
    const listed = await call(ONE, 'GET', '/v1/silences');
    expect(listed.body.data.map(({ id }: { id: string }) => id)).toEqual([body.id]);
    const path = `/v1/silences/${theirs.body.id}`;
    expect((await call(ONE, 'DELETE', path)).status).toBe(404);
    expect((await call(ONE, 'DELETE', `/v1/silences/${body.id}`)).status).toBe(204);
  });

  test("a silence's key of one token gives no silence of other sources", async () => {
    const keyed = (source: string) => ({ ...silenceOf(source), key: 'upgrade' });
    const theirs = await call(ALL, 'POST', '/v1/silences', keyed('theirs'));
    const mine = await call(ONE, 'POST', '/v1/silences', keyed('mine'));
    expect([theirs.status, mine.status]).toEqual([201, 201]);
    expect(mine.body).toMatchObject({ matchers: { source: ['mine'] } });
    const again = await call(ONE, 'POST', '/v1/silences', keyed('mine'));
    expect([again.status, again.body.id]).toEqual([200, mine.body.id]);
    expect((await call(ONE, 'DELETE', `/v1/silences/${mine.body.id}`)).status).toBe(204);
  });

  test('redelivery of a range sends what belongs to the source of the token', async () => {
    const range = { endpoint: 'hooks', state: 'delivered' };
    expect((await call(ONE, 'POST', '/v1/deliveries/redeliver', range)).body).toEqual({ count: 2 });
  });

  test('the audit log shows a token what concerns its source alone', async () => {
    const acknowledge = (source: string) => {
      const path = `/v1/watches/${runs.both}/acknowledge?source=${source}`;
      return call(ALL, 'POST', path, { by: 'ana' });
    };
    await acknowledge('mine');
    await acknowledge('theirs');
    const { status, text, body } = await call(ONE, 'GET', '/v1/audit?limit=200');
    expect(status).toBe(200);
    expect(text).not.toContain('theirs');
    const targets = body.data.map(({ target }: { target: string }) => target);
    expect(targets).toContain(`mine/${runs.both}`);
  });

  test('the event stream gives the events of the source of the token', async () => {
    const stream = new AbortController();
    const response = await fetch(`${daemon.url}/v1/events/stream`, {
      headers: { authorization: `Bearer ${ONE}` },
      signal: stream.signal,
    });
    const ids = ['theirs', 'mine'].map((source) => {
      const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
      return { id, source };
    });
    for (const { id, source } of ids) {
      await call(ALL, 'POST', '/v1/watches', { run_id: id, source });
      await waitFor(async () => {
        const { body } = await call(ALL, 'GET', `/v1/events?run_id=${id}`);
        return body.data.length > 0;
      });
    }
    let received = '';
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      received += piece;
      if (received.includes(ids[1]?.id ?? '')) break;
    }
    stream.abort();
    expect(received).not.toContain(ids[0]?.id);

    const resumed = async (from: string) => {
      const over = new AbortController();
      const { status } = await fetch(`${daemon.url}/v1/events/stream`, {
        headers: { authorization: `Bearer ${ONE}`, 'last-event-id': from },
        signal: over.signal,
      });
      over.abort();
      return status;
    };
    // In clear it would count the events of all sources.
    const [, cursor = ''] = /^id: (v1\..+)$/m.exec(received) ?? [];
    const clear = String((await call(ALL, 'GET', '/v1/events?limit=1')).body.next_cursor);
    expect([await resumed(cursor), await resumed(clear)]).toEqual([200, 422]);
  });

  test('redelivery of a range means waiting deliveries where it names their states', async () => {
    const waiting = async (state: string) =>
      (await call(ONE, 'GET', `/v1/deliveries?state=${state}`)).body.data.length as number;
    await waitFor(async () => (await waiting('pending,parked')) === 0);
    await call(ALL, 'POST', '/v1/endpoints/hooks/pause');
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
    await call(ONE, 'POST', '/v1/watches', { run_id: id });
    await waitFor(async () => (await waiting('parked')) === 1);
    const again = (range: object) => call(ONE, 'POST', '/v1/deliveries/redeliver', range);
    expect((await again({ endpoint: 'hooks' })).body).toEqual({ count: 0 });
    const range = { endpoint: 'hooks', state: ['pending', 'parked'] };
    expect((await again(range)).body).toEqual({ count: 1 });
    await call(ALL, 'POST', '/v1/endpoints/hooks/resume');
    await waitFor(async () => (await waiting('parked')) === 0);
  });

  test('every call of the API is limited to the sources of the token, or refused', async () => {
    const { body } = await call(ONE, 'GET', '/openapi.json');
    const reads = Object.entries(body.paths as Record<string, object>)
      .filter(([path, methods]) => 'get' in methods && path.startsWith('/v1/'))
      .filter(([path]) => !path.includes('{') && path !== '/v1/events/stream')
      .map(([path]) => path);
    expect(reads.length).toBeGreaterThanOrEqual(7);
    for (const path of reads) {
      const { status, text } = await call(ONE, 'GET', path);
      expect([path, [200, 403, 422].includes(status)]).toEqual([path, true]);
      if (status === 200) expect([path, text.includes('theirs')]).toEqual([path, false]);
    }
  });
});
