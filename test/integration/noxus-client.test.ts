import { EventEmitter, getEventListeners, once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import {
  createServer as createNetServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createSourceClient, type SourceClientOptions } from '../../src/fetch/client.ts';
import type { SourceRequest } from '../../src/fetch/request.ts';
import { pageRequest } from '../../src/noxus/listing.ts';
import { noxusHeaders } from '../../src/noxus/port.ts';
import { runRequest } from '../../src/noxus/run.ts';
import { growthByBody } from '../support/heap.ts';

const API_KEY = 'nx-canary-api-key';
const RUN_ID = '3f1c9a52-7d7e-4a8e-9b53-0c1d2e3f4a5b';
const RUN = {
  id: RUN_ID,
  group_id: 'g-1',
  workflow_id: 'w-1',
  status: 'running',
  progress: 40,
  created_at: '2025-03-01T09:00:00.123456',
  input: { text: 'canary-input' },
  definitions: { text: 'canary-definitions' },
  node_ids: ['canary-node-ids'],
  meta: { text: 'canary-meta' },
  api_key_id: 'canary-api-key-id',
};

/** Self-signed for 127.0.0.1 until 2120; made for this test, it protects nothing. */
const TLS = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/7i8DdbQCCDh9Vej
GBpma3mUZxrXaGVR3Mq9N58UqfuhRANCAAQuwJIDV4hcjZRdZIXb/JY6ZqdZT+ii
GWdWMdESsgWMz8JM3iRVWnzAHydhOx6uo7V7bGXOSG+ESNeDwuVOXdxS
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUMgkL7nSHwikED5D6n8qsYDuDPi0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQuwJIDV4hcjZRdZIXb/JY6ZqdZT+iiGWdWMdESsgWMz8JM3iRVWnzA
HydhOx6uo7V7bGXOSG+ESNeDwuVOXdxSo2QwYjAdBgNVHQ4EFgQUz/OOJQpwTJSf
KWa3sXXZ6GduMl4wHwYDVR0jBBgwFoAUz/OOJQpwTJSfKWa3sXXZ6GduMl4wDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IHlNfKncQfxlAvJgfaEk20Q8v1Xu9b7lVs+1XIAnSdj2AiEApSv9hiMrSTvvrD/l
GQ3g2CMPdhmvmATDUIONmRTGmyg=
-----END CERTIFICATE-----
`,
};

const NOW = '2025-03-01T10:00:00.250Z';

/** A time-out that tests wait for, and one that they should never meet, in ms. */
const SHORT = 500;
const LONG = 20_000;

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** The usual quality of brotli takes seconds for a body as large as these. */
const brotliFast = (text: string) =>
  brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });

/** Listens on loopback for one test. @returns host and port */
async function listen(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    // Clients of these tests hang up in the middle of things.
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serve = async (handler: RequestListener) => `http://${await listen(createServer(handler))}`;

/** Calls `answer` with each connection once a request has come in on it. */
async function serveRaw(answer: (socket: Socket) => void): Promise<string> {
  const server = createNetServer((socket) => socket.once('data', () => answer(socket)));
  return `http://${await listen(server)}`;
}

/** Answers with part of a response and then stalls. */
const stall = (bytes: string) => serveRaw((socket) => socket.write(bytes));

/** Something that a test waits for. */
function gate() {
  const emitter = new EventEmitter();
  return { passed: once(emitter, 'open'), open: () => emitter.emit('open') };
}

function clientOf(baseUrl: string, options: Partial<SourceClientOptions> = {}) {
  const client = createSourceClient({
    baseUrl,
    headers: noxusHeaders(API_KEY),
    timeoutMs: LONG,
    userAgent: 'runwatch/test',
    maxSockets: 8,
    now: () => Date.parse(NOW),
    random: () => 0,
    ...options,
  });
  closers.push(client.close);
  return client;
}

const read = (baseUrl: string, options: Partial<SourceClientOptions> = {}) =>
  clientOf(baseUrl, options).send(runRequest(RUN_ID));

function send(response: ServerResponse, status: number, body: unknown = '', headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

async function drip(response: ServerResponse, pieces: string[]): Promise<void> {
  for (const piece of pieces) {
    response.write(piece);
    await new Promise(setImmediate);
  }
  response.end();
}

/** Answers with one status after the other, at last with the last one, and counts. */
async function serveInTurn(...statuses: number[]) {
  const seen = { requests: 0 };
  const origin = await serve((_, response) => {
    const status = statuses[Math.min(seen.requests, statuses.length - 1)] ?? 500;
    seen.requests += 1;
    send(response, status, status === 200 ? RUN : '');
  });
  return { origin, seen };
}

describe('a request', () => {
  test('an answer to a request of before other headers repeats the key of neither', async () => {
    const [asked, changed] = [gate(), gate()];
    const origin = await serve(({ headers }, response) => {
      const msg = `no ${String(headers['x-api-key'])}, nor another-key`;
      const answer = { detail: [{ loc: ['path', 'run_id'], msg }] };
      void changed.passed.then(() => send(response, 422, answer));
      asked.open();
    });
    const client = clientOf(origin);
    const outcome = client.send(runRequest(RUN_ID));
    await asked.passed;
    client.useHeaders(noxusHeaders('another-key'));
    changed.open();
    expect(await outcome).toEqual({
      kind: 'rejected',
      message: 'path.run_id: no [redacted], nor [redacted]',
    });
  });

  test('a read of a run asks for the encoded id below the base URL, with the key', async () => {
    const seen: { url?: string | undefined; headers: object }[] = [];
    const origin = await serve(({ url, headers }, response) => {
      seen.push({ url, headers });
      send(response, 404);
    });
    await clientOf(`${origin}/proxy/`).send(runRequest('a b/c?d'));
    await clientOf(`${origin}/proxy?x=1#y`).send(runRequest('r-1'));
    await clientOf(origin).send(runRequest('r-1'));
    expect(seen.map(({ url }) => url)).toEqual([
      '/proxy/v1/runs/a%20b%2Fc%3Fd',
      '/proxy/v1/runs/r-1',
      '/v1/runs/r-1',
    ]);
    expect(seen[0]?.headers).toMatchObject({
      'x-api-key': API_KEY,
      'user-agent': 'runwatch/test',
      accept: 'application/json',
      'accept-encoding': 'gzip, br',
    });
  });

  test('a read of a run uses the connection of the one before', async () => {
    const sockets = new Set<Socket>();
    const statuses = [200, 404, 500, 429, 422, 302];
    let requests = 0;
    const origin = await serve(({ socket }, response) => {
      sockets.add(socket);
      const status = statuses[requests++ % statuses.length] ?? 200;
      send(response, status, status === 200 ? RUN : 'x'.repeat(10_000));
    });
    const client = clientOf(origin);
    for (let count = 0; count < 24; count += 1) await client.send(runRequest(RUN_ID));
    expect(requests).toBe(24);
    expect(sockets.size).toBe(1);
  });

  test('a read of a run waits for a free connection beyond the limit', async () => {
    const sockets = new Set<Socket>();
    const origin = await serve(({ socket }, response) => {
      sockets.add(socket);
      send(response, 200, RUN);
    });
    const client = clientOf(origin, { maxSockets: 2 });
    const reads = Array.from({ length: 40 }, () => client.send(runRequest(RUN_ID)));
    const outcomes = await Promise.all(reads);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['run']));
    expect(sockets.size).toBe(2);
  });

  test('a read of a run releases the signal of its caller', async () => {
    const { origin } = await serveInTurn(200);
    const client = clientOf(origin);
    const { signal } = new AbortController();
    const reads = Array.from({ length: 20 }, () => client.send(runRequest(RUN_ID), { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(20);
    await Promise.all(reads);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('a request to Noxus is reported with its status, each retry too', async () => {
    const { origin } = await serveInTurn(502, 200);
    const reports: { status: number | null; durationMs: number }[] = [];
    await read(origin, { onRequest: (info) => reports.push(info) });
    expect(reports.map(({ status }) => status)).toEqual([502, 200]);
    expect(reports.every(({ durationMs }) => durationMs > 0)).toBe(true);
  });
});

test('a request that changes something is one POST with its body, and is never repeated', async () => {
  const received: unknown[] = [];
  const origin = await serve((request, response) => {
    void textOf(request).then((body) => {
      const { method, url, headers } = request;
      received.push([method, url, headers['x-api-key'], headers['content-type'], body]);
      send(response, 502, {});
    });
  });
  const client = clientOf(origin);
  const change = (path: string, body?: object): SourceRequest<number | null> => ({
    kind: 'run',
    method: 'POST',
    path,
    ...(body !== undefined && { body }),
    mayRepeat: false,
    openAnswer: () => ({ take: () => true, read: ({ status }) => status }),
  });
  expect(await client.send(change('v1/runs/r-1/reply', { text: 'yes' }))).toBe(502);
  expect(await client.send(change('v1/runs/r-1/end'))).toBe(502);
  expect(received).toEqual([
    ['POST', '/v1/runs/r-1/reply', API_KEY, 'application/json', '{"text":"yes"}'],
    ['POST', '/v1/runs/r-1/end', API_KEY, undefined, ''],
  ]);
});

describe('an answer', () => {
  test('an answer with a run gives the snapshot as of the time of the answer', async () => {
    const origin = await serve((_, response) => send(response, 200, RUN));
    expect(await read(origin)).toEqual({
      kind: 'run',
      run: {
        id: RUN_ID,
        workflow_id: 'w-1',
        group_id: 'g-1',
        workflow_version_id: null,
        status: 'running',
        progress: 40,
        created_at: '2025-03-01T09:00:00.123Z',
        started_at: null,
        finished_at: null,
        source: null,
        user_id: null,
        conversation_id: null,
        observed_at: NOW,
      },
    });
  });

  test('an answer may come in drips and in chunks', async () => {
    const origin = await serve((_, response) => {
      void drip(response, JSON.stringify(RUN).match(/.{1,40}/g) ?? []);
    });
    expect(await read(origin)).toMatchObject({ kind: 'run' });
  });

  test.each<[string, [number, unknown, Record<string, string>?], object]>([
    ['no such run', [404, { detail: 'x' }], { kind: 'not_found' }],
    [
      'an id that Noxus rejects',
      [422, { detail: [{ loc: ['path', 'run_id'], msg: 'not a UUID', input: 'canary' }] }],
      { kind: 'rejected', message: 'path.run_id: not a UUID' },
    ],
    ['a wrong key', [401, {}], { kind: 'unauthorized' }],
    ['a weak key', [403, {}], { kind: 'forbidden' }],
    [
      'too many requests',
      [429, {}, { 'retry-after': '30' }],
      { kind: 'rate_limited', retryAfterMs: 30_000 },
    ],
    [
      'too many requests until a date',
      [429, {}, { 'retry-after': 'Sat, 01 Mar 2025 10:00:10 GMT' }],
      { kind: 'rate_limited', retryAfterMs: 9_750 },
    ],
    ['too many without a hint', [429, {}], { kind: 'rate_limited', retryAfterMs: null }],
    [
      'maintenance until later',
      [503, {}, { 'retry-after': '30' }],
      { kind: 'rate_limited', retryAfterMs: 30_000 },
    ],
    ['an error', [500, 'oops'], { kind: 'unavailable', message: 'status 500' }],
    ['HTML', [200, '<!doctype html>'], { kind: 'invalid_response' }],
    ['half a JSON', [200, JSON.stringify(RUN).slice(0, 90)], { kind: 'invalid_response' }],
    ['no status', [200, { id: RUN_ID }], { kind: 'invalid_response' }],
    ["a proxy's 404", [404, '<h1>Not Found</h1>'], { kind: 'unavailable' }],
    ['a list', [200, [RUN]], { kind: 'invalid_response' }],
    ['another run', [200, { ...RUN, id: 'other' }], { kind: 'invalid_response' }],
    [
      'a body that is not compressed as it says',
      [200, 'no gzip', { 'content-encoding': 'gzip' }],
      { kind: 'unavailable', message: expect.stringContaining('not compressed as it says') },
    ],
  ])('an answer that means %s has the poll result for it', async (_, answer, expected) => {
    const origin = await serve((_request, response) => send(response, ...answer));
    expect(await read(origin)).toMatchObject(expected);
  });

  test('a redirect of Noxus is not followed, so the key goes to no other host', async () => {
    let visits = 0;
    const elsewhere = await serve((_, response) => {
      visits += 1;
      send(response, 200, RUN);
    });
    const origin = await serve((request, response) =>
      send(response, 307, '', { location: `${elsewhere}${request.url}` }),
    );
    expect(await read(origin)).toEqual({
      kind: 'unavailable',
      message: 'status 307: redirects are not followed, is the base URL right?',
    });
    expect(visits).toBe(0);
  });

  test('no outcome of a read holds anything private, even where the server repeats it', async () => {
    const bodies: [number, unknown][] = [
      [200, RUN],
      [200, { ...RUN, status: 5 }],
      [200, { ...RUN, id: 'canary-other' }],
      [200, `${JSON.stringify(RUN)}canary`],
      [200, `<p>${JSON.stringify(RUN)}</p>`],
      [422, { detail: [{ loc: ['x'], msg: `no ${API_KEY}`, input: RUN, ctx: RUN }] }],
      [401, { detail: `wrong key ${API_KEY}` }],
      [500, RUN],
    ];
    let index = 0;
    const origin = await serve(({ headers }, response) => {
      const [status, body] = bodies[index] ?? [500, ''];
      send(response, status, body, { 'x-echo': String(headers['x-api-key']), 'x-run': 'canary' });
    });
    const client = clientOf(origin);
    for (index = 0; index < bodies.length; index += 1) {
      expect(JSON.stringify(await client.send(runRequest(RUN_ID)))).not.toContain('canary');
    }
  });
});

describe('a large body', () => {
  /** A run with 8 MiB of input before what matters, in many small parts and one large. */
  function* largeRun(): Generator<string> {
    yield '{"input":{"parts":[';
    for (let part = 0; part < 64; part += 1)
      yield `{"id":"canary","text":"${'x'.repeat(65_536)}"},`;
    yield `{"text":"${'\\"'.repeat(2_097_152)}"}]},${JSON.stringify(RUN).slice(1)}`;
  }

  test.each([
    ['as it is', {}, (text: string) => text],
    ['as gzip', { 'content-encoding': 'gzip' }, gzipSync],
    ['as br', { 'content-encoding': 'br' }, brotliFast],
  ])(
    'of a run that comes %s is read, and nothing of its input kept',
    async (_, headers, encode) => {
      const body = encode([...largeRun()].join(''));
      const origin = await serve((_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body);
      });
      const outcome = await read(origin);
      expect(outcome).toMatchObject({ kind: 'run', run: { id: RUN_ID, status: 'running' } });
      expect(JSON.stringify(outcome)).not.toContain('canary');
    },
  );

  test('a body of 60 MiB is read without holding it', async () => {
    let growth = Infinity;
    const origin = await serve((_request, response) => {
      const tail = `"},${JSON.stringify(RUN).slice(1)}`;
      const body = { head: '{"input":{"text":"', bytes: 60 * 1_048_576, tail };
      void growthByBody(response, body).then((bytes) => (growth = bytes));
    });
    expect(await read(origin)).toMatchObject({ kind: 'run', run: { id: RUN_ID } });
    expect(growth).toBeLessThan(2 * 1_048_576);
  });

  test('a body that is no JSON is cut off long before its end', async () => {
    let sent = 0;
    const closed = gate();
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    const origin = await serveRaw((socket) => {
      socket.once('close', closed.open);
      const pump = (): void => {
        while (!socket.destroyed) {
          sent += 0x4000;
          if (!socket.write(chunk)) break;
        }
      };
      socket.on('drain', pump);
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      pump();
    });
    expect(await read(origin)).toEqual({
      kind: 'invalid_response',
      message: 'the body is not valid JSON',
    });
    await closed.passed;
    // What the kernel buffers on both sides comes on top of the limit.
    expect(sent).toBeLessThan(16 * 1_048_576);
  });

  test('a large body of another status does not hide the status', async () => {
    const origin = await serve((_, response) => send(response, 401, 'x'.repeat(2_097_152)));
    expect(await read(origin)).toMatchObject({ kind: 'unauthorized' });
  });
});

describe('a field that cannot be read', () => {
  test('an unreadable field is reported once for all runs and lists', async () => {
    const { group_id: _, ...run } = RUN;
    const origin = await serve(({ url = '' }, response) =>
      send(response, 200, url.includes('?') ? { items: [{ ...run, progress: 'x' }] } : run),
    );
    const told: string[] = [];
    const client = clientOf(origin, { onUnreadField: (field) => told.push(field) });
    const question = { workflowId: null, page: 1, size: 50 };
    for (let turn = 0; turn < 2; turn += 1) {
      await client.send(runRequest(RUN_ID));
      await client.send(pageRequest(question));
    }
    expect(told).toEqual(['group_id', 'progress']);
  });
});

describe('trouble on the line', () => {
  test.each<[string, (socket: Socket) => void, RegExp]>([
    ['a reset', (socket) => socket.resetAndDestroy(), /closed the connection before it answered/],
    ['a hang-up', (socket) => socket.end(), /closed the connection before it answered/],
    [
      'a body that is cut off',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"id":"canary'),
      /closed the connection in the middle of its answer/,
    ],
    [
      'a chunked body that is cut off',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id"\r\n'),
      /closed the connection in the middle of its answer/,
    ],
  ])('a read after %s is tried three times, then unavailable', async (_, answer, message) => {
    let requests = 0;
    const origin = await serveRaw((socket) => {
      requests += 1;
      answer(socket);
    });
    expect(await read(origin)).toEqual({
      kind: 'unavailable',
      message: expect.stringMatching(message),
    });
    expect(requests).toBe(3);
  });

  test('a refused connection is unavailable and names the host', async () => {
    const server = createNetServer();
    const host = await listen(server);
    server.close();
    await once(server, 'close');
    expect(await read(`http://${host}`)).toEqual({
      kind: 'unavailable',
      message: `${host} refuses connections (ECONNREFUSED)`,
    });
  });

  test('an answer that is not HTTP is unavailable and not tried again', async () => {
    let requests = 0;
    const origin = await serveRaw((socket) => {
      requests += 1;
      socket.end('SSH-2.0-OpenSSH_9.6 canary\r\n');
    });
    expect(await read(origin)).toEqual({
      kind: 'unavailable',
      message: expect.stringMatching(/is not HTTP \(HPE_/),
    });
    expect(requests).toBe(1);
  });

  test('an untrusted certificate is unavailable and says which check failed', async () => {
    const server = createTlsServer(TLS, (_, response) => send(response, 200, RUN));
    const host = await listen(server);
    expect(await read(`https://${host}`)).toEqual({
      kind: 'unavailable',
      message: expect.stringMatching(
        /^the certificate of 127.+ is not accepted: it is self-signed/,
      ),
    });
  });

  test('plain HTTP where TLS is expected is unavailable and says that TLS failed', async () => {
    const origin = await serve((_, response) => send(response, 200, RUN));
    expect(await read(origin.replace('http:', 'https:'))).toEqual({
      kind: 'unavailable',
      message: expect.stringMatching(/TLS failed/),
    });
  });

  test.each([502, 503, 504])('status %i of Noxus is tried again at once', async (status) => {
    const { origin, seen } = await serveInTurn(status, status, 200);
    expect(await read(origin)).toMatchObject({ kind: 'run' });
    expect(seen.requests).toBe(3);
  });

  test('a failing read is tried again at most twice', async () => {
    const { origin, seen } = await serveInTurn(502, 504, 503, 200);
    expect(await read(origin)).toEqual({ kind: 'unavailable', message: 'status 503' });
    expect(seen.requests).toBe(3);
  });

  test.each([500, 429, 401, 404, 422, 302])(
    'status %i of Noxus is not tried again',
    async (status) => {
      const { origin, seen } = await serveInTurn(status, 200);
      await read(origin);
      expect(seen.requests).toBe(1);
    },
  );
});

describe('the deadline', () => {
  test.each<[string, () => Promise<string>]>([
    ['waiting for the answer', () => serve(() => undefined)],
    ['waiting for the answer', () => stall('HTTP/1.1 200 OK\r\ncontent-le')],
    [
      'reading the body of the answer',
      () => stall('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
    ],
    [
      'in the TLS handshake',
      async () => (await serveRaw(() => undefined)).replace('http:', 'https:'),
    ],
  ])('the deadline ends a read while %s', async (phase, start) => {
    const reports: (number | null)[] = [];
    const outcome = await read(await start(), {
      timeoutMs: SHORT,
      onRequest: ({ status }) => reports.push(status),
    });
    expect(outcome).toEqual({ kind: 'unavailable', message: `timed out after 500ms ${phase}` });
    expect(reports).toHaveLength(1);
  });

  test('the deadline ends a body that drips for ever', async () => {
    const origin = await serve((_, response) => {
      const timer = setInterval(() => response.write(' '), 10);
      response.on('close', () => clearInterval(timer));
    });
    expect(await read(origin, { timeoutMs: SHORT })).toEqual({
      kind: 'unavailable',
      message: 'timed out after 500ms reading the body of the answer',
    });
  });

  test('the deadline ends a read that waits for a free connection', async () => {
    const origin = await serve(() => undefined);
    const client = clientOf(origin, { timeoutMs: SHORT, maxSockets: 1 });
    const outcomes = await Promise.all([
      client.send(runRequest('r-1')),
      client.send(runRequest('r-2')),
    ]);
    expect(outcomes).toEqual([
      { kind: 'unavailable', message: 'timed out after 500ms waiting for the answer' },
      { kind: 'unavailable', message: expect.stringMatching(/^timed out after 500ms/) },
    ]);
  });

  test('the deadline covers the quick retries', async () => {
    let requests = 0;
    const origin = await serve((_, response) => {
      requests += 1;
      if (requests === 1) send(response, 502);
    });
    expect(await read(origin, { timeoutMs: 3_000 })).toEqual({
      kind: 'unavailable',
      message: 'timed out after 3s waiting for the answer',
    });
    expect(requests).toBe(2);
  });

  test('a retry that the deadline would cut short is not made', async () => {
    const { origin, seen } = await serveInTurn(502, 200);
    const outcome = await read(origin, { timeoutMs: 290, random: () => 0.99 });
    expect(outcome).toEqual({ kind: 'unavailable', message: 'status 502' });
    expect(seen.requests).toBe(1);
  });

  test('the deadline does not hide a status that came before it', async () => {
    const origin = await stall('HTTP/1.1 429 No\r\nretry-after: 9\r\ncontent-length: 9\r\n\r\n{');
    expect(await read(origin, { timeoutMs: SHORT })).toMatchObject({
      kind: 'rate_limited',
      retryAfterMs: 9_000,
    });
  });

  test('an expired deadline spoils no later read', async () => {
    let isStalling = true;
    const origin = await serve((_, response) => {
      if (!isStalling) send(response, 200, RUN);
    });
    const client = clientOf(origin, { timeoutMs: SHORT, maxSockets: 1 });
    expect(await client.send(runRequest(RUN_ID))).toMatchObject({ kind: 'unavailable' });
    isStalling = false;
    expect(await client.send(runRequest(RUN_ID))).toMatchObject({ kind: 'run' });
  });
});

describe('a caller that goes away', () => {
  const aborted = { name: 'RunwatchError', code: 'aborted' };

  test('a read sends nothing when its caller is gone before it begins', async () => {
    const { origin, seen } = await serveInTurn(200);
    const client = clientOf(origin);
    await expect(
      client.send(runRequest(RUN_ID), { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject(aborted);
    expect(seen.requests).toBe(0);
  });

  test('a read hangs up when its caller goes away', async () => {
    const controller = new AbortController();
    const closed = gate();
    const origin = await serve(({ socket }) => {
      socket.once('close', closed.open);
      controller.abort();
    });
    const reading = clientOf(origin).send(runRequest(RUN_ID), { signal: controller.signal });
    await expect(reading).rejects.toMatchObject(aborted);
    await closed.passed;
  });

  test('a read makes no retry after its caller went away', async () => {
    const { origin, seen } = await serveInTurn(502);
    const controller = new AbortController();
    const client = clientOf(origin, { onRequest: () => setImmediate(() => controller.abort()) });
    const reading = client.send(runRequest(RUN_ID), { signal: controller.signal });
    await expect(reading).rejects.toMatchObject(aborted);
    expect(seen.requests).toBe(1);
  });

  test('closing the client ends reads in flight and refuses later ones', async () => {
    const arrived = gate();
    const origin = await serve(() => arrived.open());
    const client = clientOf(origin);
    const reading = client.send(runRequest(RUN_ID));
    await arrived.passed;
    client.close();
    await expect(reading).rejects.toMatchObject(aborted);
    await expect(client.send(runRequest(RUN_ID))).rejects.toMatchObject(aborted);
  });
});

describe('a client', () => {
  test.each([
    [{ baseUrl: 'backend.noxus.ai' }],
    [{ baseUrl: 'ftp://backend.noxus.ai' }],
    [{ headers: noxusHeaders('two\nlines') }],
  ])('a client is not made with %j', (options) => {
    expect(() => clientOf('http://127.0.0.1:1', options)).toThrow(
      expect.objectContaining({ code: 'invalid_source' }),
    );
  });
});
