import { createServer, type Server } from 'node:http';
import { gzipSync } from 'node:zlib';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { ReadOptions, SourcePort } from '../../src/core/source/port.ts';
import { closeServer, listenOnLoopback } from '../../src/simulator/http-io.ts';
import { kindOf } from '../../src/source/kinds.ts';
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
function openSource(changes: Record<string, unknown> = {}, url = api.url): SourcePort {
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
    const before = process.memoryUsage().rss;
    expect(await openSource({}, url).readRun('a')).toMatchObject({
      kind: 'invalid_response',
      message: expect.stringContaining('the answer is too large'),
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1_048_576);
  });
});
