import { createServer, type Server } from 'node:http';
import { gzipSync } from 'node:zlib';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { ReadOptions, SourcePort } from '../../src/core/source/port.ts';
import { closeServer, listenOnLoopback } from '../../src/simulator/http-io.ts';
import { kindOf } from '../../src/source/kinds.ts';
import { growthWhile } from '../support/heap.ts';
import { ScriptedApi } from '../support/scripted-api.ts';

const SECRET = 'Bearer secret-of-this-test';

let api: ScriptedApi;
let open: SourcePort[] = [];

beforeEach(async () => {
  api = await new ScriptedApi().listen();
});

afterEach(async () => {
  for (const port of open) port.close();
  open = [];
  await api.close();
});

/** Opens a source as it is configured. */
function openSource(
  changes: Record<string, unknown> = {},
  url = api.url,
  onUnreadField: (field: string) => void = () => undefined,
): SourcePort {
  const source = {
    type: 'http',
    base_url: `${url}/v1`,
    headers: { authorization: SECRET },
    run: { get: '/runs/{run}', id: '$.id', status: '$.status', finished: '$.ended' },
    states: { running: ['busy'], completed: ['done'] },
    errors: { rate_limit_remaining: 'X-Left', rate_limit_reset: 'x-reset' },
    ...changes,
  };
  const config = configSchema.parse({ data_dir: '/d', sources: { ci: source } }).sources['ci'];
  if (config === undefined) throw new Error('no source is configured');
  const port = kindOf('ci', config).open({
    timeoutMs: 60_000,
    userAgent: 'runwatch/0',
    maxSockets: 4,
    maxStreams: 1,
    onUnreadField,
  });
  open.push(port);
  return port;
}

/** What a read comes to, without what differs from run to run of the test. */
async function read(port: SourcePort, id = 'a', options?: ReadOptions): Promise<PollResult> {
  return port.readRun(id, options);
}

const busy = (id = 'a') => ({ status: 200, body: { id, status: 'busy', prompt: 'private' } });

describe('reading runs of a declared API', () => {
  test('a read asks below the base URL with the headers, and gives the run', async () => {
    const id = 'a:b/c';
    api.reply = () => ({ status: 200, body: { id, status: 'done', ended: 1_767_225_600 } });
    const result = await read(openSource(), id);
    expect(result).toMatchObject({
      kind: 'run',
      run: {
        id,
        status: 'completed',
        source_status: 'done',
        finished_at: '2026-01-01T00:00:00.000Z',
      },
    });
    const [request] = api.requests;
    expect(request).toMatchObject({ method: 'GET', path: '/v1/runs/a%3Ab/c' });
    expect(request?.headers).toMatchObject({
      authorization: SECRET,
      accept: 'application/json',
      'user-agent': 'runwatch/0',
    });
  });

  test('an id that no run can have is sent nowhere', async () => {
    const result = await read(openSource(), '../secrets');
    expect(result).toMatchObject({ kind: 'rejected' });
    expect(api.requests).toEqual([]);
  });

  test.each([201, 202])('an answer with status %d is one about the run', async (status) => {
    api.reply = () => ({ ...busy(), status });
    expect(await read(openSource())).toMatchObject({ kind: 'run', run: { status: 'running' } });
  });

  test.each<[string, { status: number; headers?: Record<string, string>; body?: unknown }, object]>(
    [
      ['404 in JSON', { status: 404, body: { message: 'Not Found' } }, { kind: 'not_found' }],
      ['410 in JSON', { status: 410, body: {} }, { kind: 'not_found' }],
      [
        '404 in HTML',
        { status: 404, body: '<html>', headers: { 'content-type': 'text/html' } },
        { kind: 'unavailable', message: "status 404 without JSON: a proxy's answer?" },
      ],
      ['404 in a JSON text', { status: 404, body: '"gone"' }, { kind: 'unavailable' }],
      ['404 without a body', { status: 404 }, { kind: 'unavailable' }],
      [
        '401',
        { status: 401, body: { message: SECRET } },
        { kind: 'unauthorized', message: 'status 401: the headers are not accepted' },
      ],
      ['403', { status: 403, body: {} }, { kind: 'forbidden' }],
      [
        '403 with Retry-After',
        { status: 403, headers: { 'retry-after': '7' } },
        { kind: 'rate_limited', retryAfterMs: 7_000, message: 'status 403, asks for 7 s' },
      ],
      [
        '403 with requests left',
        { status: 403, headers: { 'x-left': '1', 'x-reset': '4000000000' } },
        { kind: 'forbidden' },
      ],
      ['429', { status: 429 }, { kind: 'rate_limited', retryAfterMs: null }],
      [
        '429 with a reset that is no time',
        { status: 429, headers: { 'x-left': '0', 'x-reset': '30' } },
        { kind: 'rate_limited', retryAfterMs: null },
      ],
      [
        '503 with Retry-After',
        { status: 503, headers: { 'retry-after': '3' } },
        { kind: 'rate_limited' },
      ],
      ['500', { status: 500 }, { kind: 'unavailable', message: 'status 500' }],
      ['304 that was not asked for', { status: 304 }, { kind: 'unavailable' }],
      [
        '200 without a body',
        { status: 200 },
        { kind: 'invalid_response', message: 'the body is empty' },
      ],
      [
        '200 in HTML',
        { status: 200, body: '<!doctype html>', headers: { 'content-type': 'text/html' } },
        { kind: 'invalid_response', message: 'the body is HTML, not JSON' },
      ],
      [
        '200 that is cut off',
        { status: 200, body: '{"id":"a","status":"bu' },
        { kind: 'invalid_response', message: 'the JSON is cut off after 22 bytes' },
      ],
      [
        '200 with faulty JSON',
        { status: 200, body: '{"id":a}' },
        { kind: 'invalid_response', message: 'the body is not valid JSON' },
      ],
      [
        '200 about another run',
        busy('b'),
        {
          kind: 'invalid_response',
          message: '$.id (id): another run than the one that was asked for',
        },
      ],
    ],
  )('an answer is judged: %s', async (_, answer, outcome) => {
    api.reply = () => answer;
    expect(await read(openSource())).toMatchObject(outcome);
  });

  test('a reset header is read as seconds since the epoch, where no request is left', async () => {
    const resetAt = Math.ceil(Date.now() / 1_000) + 600;
    api.reply = () => ({ status: 403, headers: { 'x-left': '0', 'x-reset': String(resetAt) } });
    const result = await read(openSource());
    expect(result.kind).toBe('rate_limited');
    const { retryAfterMs } = result as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(601_000);
  });

  test('a redirect is not followed, so that headers go to no other host', async () => {
    const other = await new ScriptedApi().listen();
    try {
      api.reply = () => ({ status: 302, headers: { location: `${other.url}/v1/runs/a` } });
      expect(await read(openSource())).toMatchObject({
        kind: 'unavailable',
        message: 'status 302: redirects are not followed, is the base URL right?',
      });
      expect(other.requests).toEqual([]);
    } finally {
      await other.close();
    }
  });

  test('Retry-After of a good answer comes with the run, for a quarter of an hour at most', async () => {
    api.reply = () => ({ ...busy(), headers: { 'retry-after': '20' } });
    const port = openSource();
    expect(await read(port)).toMatchObject({ kind: 'run', retryAfterMs: 20_000 });
    api.reply = () => ({ ...busy(), headers: { 'retry-after': '86400' } });
    expect(await read(port)).toMatchObject({ kind: 'run', retryAfterMs: 900_000 });
  });

  test('a probe shows whether the source answers, whatever it says', async () => {
    const port = openSource({ probe: '/models?limit=1' });
    api.reply = () => ({ status: 200, body: { data: [1, 2] } });
    expect(await port.probe?.()).toEqual({ kind: 'answered' });
    expect(api.requests[0]).toMatchObject({ path: '/v1/models' });
    api.reply = () => ({ status: 200, body: '<html>' });
    expect(await port.probe?.()).toMatchObject({ kind: 'invalid_response' });
    api.reply = () => ({ status: 404, body: {} });
    expect(await port.probe?.()).toMatchObject({ kind: 'unavailable' });
    expect(openSource().probe).toBeNull();
  });
});

describe('requests that say what is known', () => {
  const tagged = (status: string, tag: string) => ({
    status: 200,
    headers: { etag: tag },
    body: { id: 'a', status },
  });
  const tagsSent = () => api.requests.map(({ headers }) => headers['if-none-match']);

  test('304 stands for the run as it was last read', async () => {
    const port = openSource({ conditional: true });
    api.reply = () => tagged('busy', 'W/"1"');
    const first = await read(port);
    api.reply = () => ({ status: 304, headers: { etag: 'W/"1"', 'retry-after': '3' } });
    const second = await read(port);
    expect(first).toMatchObject({ kind: 'run', run: { status: 'running' } });
    expect(second).toMatchObject({ kind: 'run', run: { status: 'running' }, retryAfterMs: 3_000 });
    api.reply = () => tagged('done', 'W/"2"');
    expect(await read(port)).toMatchObject({ run: { status: 'completed' } });
    await read(port, 'b');
    expect(tagsSent()).toEqual([undefined, 'W/"1"', 'W/"1"', undefined]);
  });

  test('other headers ask anew, and so does a source that gives no tag any more', async () => {
    const port = openSource({ conditional: true });
    api.reply = () => tagged('busy', '"1"');
    await read(port);
    port.useHeaders({ authorization: 'Bearer other' });
    api.reply = () => busy();
    await read(port);
    await read(port);
    expect(tagsSent()).toEqual([undefined, undefined, undefined]);
  });

  test('a tag that no header can carry is not sent back', async () => {
    const port = openSource({ conditional: true });
    api.reply = () => tagged('busy', 'no quotes');
    await read(port);
    await read(port);
    expect(tagsSent()).toEqual([undefined, undefined]);
  });
});

describe('a second request', () => {
  const ALSO = {
    also: {
      when: 'completed',
      get: '/threads/{run}',
      id: '$.run',
      status: '$.next',
      states: { awaiting_human_feedback: ['*'] },
    },
  };
  let thread: { status: number; body?: unknown };
  let run: string;
  let seconds: number;
  const options = { onSecond: () => void (seconds += 1) };

  beforeEach(() => {
    seconds = 0;
    run = 'done';
    thread = { status: 200, body: { run: 'a', next: 'node' } };
    api.reply = ({ path }) =>
      path.startsWith('/v1/threads/') ? thread : { status: 200, body: { id: 'a', status: run } };
  });

  test('it is sent only where the first shows a state that needs it', async () => {
    const port = openSource(ALSO);
    run = 'busy';
    expect(await read(port, 'a', options)).toMatchObject({ run: { status: 'running' } });
    expect([seconds, api.requests.length]).toEqual([0, 1]);
    run = 'done';
    expect(await read(port, 'a', options)).toMatchObject({
      run: { status: 'awaiting_human_feedback', source_status: 'done' },
    });
    expect([seconds, api.requests.length]).toEqual([1, 3]);
  });

  test.each([
    [{ status: 500 }, { kind: 'unavailable', message: 'also: status 500' }],
    [
      { status: 404, body: {} },
      { kind: 'unavailable', message: 'also: status 404' },
    ],
    [{ status: 429 }, { kind: 'rate_limited', message: 'also: status 429' }],
    [{ status: 401 }, { kind: 'unauthorized' }],
    [{ status: 200, body: '<html>' }, { kind: 'invalid_response' }],
  ])('both answers make the observation or neither does: %j', async (answer, outcome) => {
    thread = answer;
    expect(await read(openSource(ALSO))).toMatchObject(outcome);
  });

  test('giving a read up ends its second request, too', async () => {
    const port = openSource(ALSO);
    const abandoned = new AbortController();
    api.reply = ({ path }) => {
      if (!path.startsWith('/v1/threads/'))
        return { status: 200, body: { id: 'a', status: 'done' } };
      abandoned.abort();
      return thread;
    };
    await expect(read(port, 'a', { signal: abandoned.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
  });
});

describe('lists of a declared API', () => {
  const LIST = { get: '/runs?n={size}&from={offset}', items: '$.runs', created: '$.at' };
  const unread: string[] = [];
  const item = (id: unknown, more: object = {}) => ({
    id,
    status: 'busy',
    at: '2026-01-01T00:00:00Z',
    prompt: 'private',
    ...more,
  });

  beforeEach(() => void unread.splice(0));

  function openList(list: Record<string, unknown> = {}, more: Record<string, unknown> = {}) {
    const port = openSource({ list: { ...LIST, ...list }, ...more }, api.url, (key) => {
      unread.push(key);
    });
    return (page = 1, size = 100) => port.readPage!({ workflowId: null, page, size });
  }

  const answerWith = (...items: unknown[]) => {
    api.reply = () => ({ status: 200, body: { total: 1_000, runs: items } });
  };
  const asked = () => api.requests.map(({ path, query }) => `${path}?${query.toString()}`);

  test('a page is asked for by its place, and gives what its items show of runs', async () => {
    answerWith(
      item('a'),
      item('b', { status: 'done', at: 1_767_225_600 }),
      item('c', { status: 'odd' }),
    );
    expect(await openList()()).toEqual({
      kind: 'page',
      page: {
        runs: [
          {
            id: 'a',
            workflow_id: null,
            status: 'running',
            progress: null,
            created_at: '2026-01-01T00:00:00.000Z',
          },
          {
            id: 'b',
            workflow_id: null,
            status: 'completed',
            progress: null,
            created_at: '2026-01-01T00:00:00.000Z',
          },
          {
            id: 'c',
            workflow_id: null,
            status: 'odd',
            progress: null,
            created_at: '2026-01-01T00:00:00.000Z',
          },
        ],
        isLast: true,
        isCut: false,
        bytes: expect.any(Number),
      },
    });
    await openList()(3, 20);
    await openList({ get: '/runs?page={page}&per_page={size}' })(2, 30);
    await openList({ get: '/runs?page={page}', first_page: 0, size: 50 })(2, 30);
    expect(asked()).toEqual([
      '/v1/runs?n=100&from=0',
      '/v1/runs?n=20&from=40',
      '/v1/runs?page=2&per_page=30',
      '/v1/runs?page=1',
    ]);
    expect(unread).toEqual([]);
  });

  test('fields of an item stand where list says, else where they stand in a run', async () => {
    answerWith({ job: { key: 7, state: 'done' }, made: 1_767_225_600, done: 3, of: 4 });
    const readPage = openList({
      id: '$.job.key',
      status: ['$.job.result', '$.job.state'],
      created: '$.made',
      progress: { done: '$.done', total: '$.of' },
    });
    expect(await readPage()).toMatchObject({
      page: {
        runs: [
          { id: '7', status: 'completed', progress: 75, created_at: '2026-01-01T00:00:00.000Z' },
        ],
      },
    });
  });

  test('an id of several parts is put together, where no part of it holds a slash', async () => {
    answerWith(
      item('x/1', { dag: 'daily', run: 'x/1' }),
      item(2, { dag: 'a/b' }),
      item(3, { dag: '' }),
      item(4, { dag: 'weekly' }),
    );
    const readPage = openList(
      { id: { dag: '$.dag' } },
      { id: '{dag}/{run}', run: { get: '/{dag}/{run}', id: '$.id', status: '$.status' } },
    );
    const outcome = await readPage();
    expect(outcome).toMatchObject({ page: { runs: [{ id: 'daily/x/1' }, { id: 'weekly/4' }] } });
    expect(unread).toEqual(['list.id']);
  });

  test('items without id or status are left out and said once, and a run counts once', async () => {
    const readPage = openList();
    answerWith(
      item(null),
      item('a'),
      { id: 'b', at: 1 },
      item('a', { status: 'done' }),
      item('c', { at: 'x' }),
      7,
    );
    const { page } = (await readPage()) as { page: { runs: { id: string; status: string }[] } };
    expect(page.runs).toMatchObject([
      { id: 'a', status: 'running' },
      { id: 'c', created_at: null },
    ]);
    await readPage();
    expect(unread.toSorted()).toEqual(['list.created', 'list.id', 'list.status']);
    answerWith(item(null), { id: 'b' });
    expect(await readPage()).toEqual({
      kind: 'invalid_response',
      message: 'list: no item has both an id and a status',
    });
  });

  test('the attempt of an item is read where runs have one, and a run without is shown all the same', async () => {
    answerWith(item('a', { n: 3 }), item('b'), item('c', { n: 0 }));
    const run = { get: '/runs/{run}', id: '$.id', status: '$.status', attempt: '$.n' };
    const outcome = await openList({}, { run })();
    const { page } = outcome as { page: { runs: { id: string; attempt?: number }[] } };
    const attempts = page.runs.map(({ id, attempt }) => [id, attempt]);
    expect(attempts).toEqual([
      ['a', 3],
      ['b', undefined],
      ['c', undefined],
    ]);
    expect(unread).toEqual(['list.attempt']);
    answerWith(item('a', { n: 3, count: 4 }));
    expect(await openList({ attempt: '$.count' }, { run })()).toMatchObject({
      page: { runs: [{ attempt: 4 }] },
    });
  });

  test('an item whose id repeats a credential is left out', async () => {
    answerWith(item('secret-of-this-test'), item('a'));
    expect(await openList()()).toMatchObject({ page: { runs: [{ id: 'a' }] } });
  });

  test('a page ends a list where it is not full, and a list without places ends nowhere', async () => {
    answerWith(item('a'), item('b'));
    expect(await openList()(1, 2)).toMatchObject({ page: { isLast: false } });
    expect(await openList()(2, 3)).toMatchObject({ page: { isLast: true } });
    const first = openList({ get: '/runs?limit={size}' });
    expect(await first()).toMatchObject({ page: { isLast: false, runs: [{}, {}] } });
    answerWith();
    expect(await openList()()).toMatchObject({ kind: 'page', page: { runs: [], isLast: true } });
  });

  test('more items than a page has make no page, since pages would overlap; of the newest page alone the first count', async () => {
    answerWith(item('a'), item('b'), item('c'));
    expect(await openList()(1, 2)).toEqual({
      kind: 'invalid_response',
      message: 'list: more than the 2 items of a page, so that pages overlap',
    });
    expect(await openList({ get: '/runs', size: 2 })()).toMatchObject({
      kind: 'page',
      page: { runs: [{ id: 'a' }, { id: 'b' }], isLast: false, isCut: false },
    });
  });

  test('a list is the answer itself, or stands deep in it', async () => {
    api.reply = () => ({ status: 200, body: [item('a')] });
    expect(await openList({ items: '$' })()).toMatchObject({ page: { runs: [{ id: 'a' }] } });
    api.reply = () => ({ status: 200, body: { data: [{ runs: [item('b')] }] } });
    const deep = openList({ items: '$.data[0].runs' });
    expect(await deep()).toMatchObject({ page: { runs: [{ id: 'b' }] } });
    api.reply = () => ({ status: 200, body: { data: {} } });
    expect(await deep()).toEqual({
      kind: 'invalid_response',
      message: '$.data[0].runs (list.items): no list stands there',
    });
  });

  test.each<[string, { status: number; headers?: Record<string, string>; body?: unknown }, object]>(
    [
      ['401', { status: 401, body: {} }, { kind: 'unauthorized' }],
      [
        '403',
        { status: 403, body: {} },
        {
          kind: 'not_offered',
          status: 403,
          message: 'status 403: the headers lack the right to list runs',
        },
      ],
      [
        '403 with nothing left',
        { status: 403, headers: { 'x-left': '0' }, body: {} },
        { kind: 'rate_limited' },
      ],
      ['429', { status: 429, headers: { 'retry-after': '7' } }, { retryAfterMs: 7_000 }],
      [
        '404',
        { status: 404, body: {} },
        { kind: 'not_offered', message: 'status 404: is list.get right?' },
      ],
      ['422', { status: 422, body: {} }, { kind: 'not_offered' }],
      [
        '404 in HTML',
        { status: 404, body: '<html>', headers: { 'content-type': 'text/html' } },
        { kind: 'unavailable', message: "status 404 without JSON: a proxy's answer?" },
      ],
      [
        '200 in HTML',
        { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } },
        { kind: 'invalid_response', message: 'the body is HTML, not JSON' },
      ],
      [
        '200 that is cut off',
        { status: 200, body: '{"runs":[{"id"' },
        { kind: 'invalid_response' },
      ],
      ['500', { status: 500 }, { kind: 'unavailable' }],
    ],
  )('an answer in place of a page is judged: %s', async (_, answer, outcome) => {
    api.reply = () => answer;
    expect(await openList()()).toMatchObject(outcome);
  });

  test('304 stands for the page as it was last read, until headers change', async () => {
    const port = openSource({ list: LIST, conditional: true });
    const readPage = (page = 1) => port.readPage!({ workflowId: null, page, size: 100 });
    api.reply = () => ({ status: 200, headers: { etag: '"1"' }, body: { runs: [item('a')] } });
    const first = await readPage();
    api.reply = () => ({ status: 304 });
    expect(first).toMatchObject({ page: { runs: [{ id: 'a' }], isLast: true } });
    expect(await readPage()).toMatchObject({
      page: { runs: [{ id: 'a' }], isLast: true, bytes: 0 },
    });
    await readPage(2);
    port.useHeaders({ authorization: 'Bearer other' });
    await readPage();
    const tags = api.requests.map(({ headers }) => headers['if-none-match']);
    expect(tags).toEqual([undefined, '"1"', undefined, undefined]);
  });

  test('the smallest page is the probe of a source that has none', async () => {
    const { probe } = openSource({ list: LIST });
    answerWith(item('a'), item('b'));
    expect(await probe?.()).toEqual({ kind: 'answered' });
    answerWith();
    expect(await probe?.()).toEqual({ kind: 'answered' });
    api.reply = () => ({ status: 404, body: {} });
    expect(await probe?.()).toMatchObject({ kind: 'not_offered' });
    expect(asked()[0]).toBe('/v1/runs?n=1&from=0');
    await openSource({ list: LIST, probe: '/models' }).probe?.();
    expect(asked().at(-1)).toContain('/v1/models');
  });

  test('a page that is too large gives the items that came, where a smaller one can be asked for', async () => {
    const big = item('a', { log: 'x'.repeat(1_000_000) });
    answerWith(...Array.from({ length: 30 }, (_, at) => ({ ...big, id: `run-${at}` })));
    const outcome = await openList()();
    expect(outcome).toMatchObject({ kind: 'page', page: { isCut: true, isLast: false } });
    expect(outcome).toMatchObject({ page: { runs: { length: 16 } } });
    expect(await openList({ get: '/runs?page={page}' })()).toMatchObject({
      kind: 'invalid_response',
      message: expect.stringContaining('the page is too large'),
    });
    expect(await openList({ get: '/runs' })()).toMatchObject({
      page: { isCut: false, isLast: false, runs: { length: 16 } },
    });
  });
});

describe('a hostile answer', () => {
  let server: Server | null = null;

  afterEach(async () => {
    if (server !== null) await closeServer(server);
    server = null;
  });

  test('a body of a GiB is given up, and takes no memory', async () => {
    // Zipped texts one after the other are one text.
    const start = gzipSync('{"id":"a","status":"busy","items":[');
    const mebibyte = gzipSync(Buffer.alloc(1_048_576, '{"x":[1,"y"]},'));
    function* body() {
      yield start;
      for (let at = 0; at < 1_024; at += 1) yield mebibyte;
    }
    server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
      const zipped = Readable.from(body());
      zipped.pipe(response);
      response.on('close', () => zipped.destroy());
    });
    const url = await listenOnLoopback(server, { port: 0, host: '127.0.0.1' });
    const growth = await growthWhile(async () => {
      expect(await openSource({}, url).readRun('a')).toMatchObject({
        message: expect.stringMatching(/^(the answer is too large|timed out after)/),
      });
    });
    expect(growth).toBeLessThan(32 * 1_048_576);
  });
});
