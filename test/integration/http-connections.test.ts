import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNodeServer } from '../../src/http/connections.ts';
import { aWatch } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { dial, rawRequest, readToEnd, sendRaw } from '../support/raw-http.ts';
import { waitFor } from '../support/wait-for.ts';

const HOST = { host: 'localhost' };
const PENDING = new Promise<never>(() => undefined);

let server: TestServer;
const sockets: Socket[] = [];

async function start(options: Parameters<typeof startServer>[0] = {}): Promise<TestServer> {
  server = await startServer(options);
  return server;
}

/** A connection that is let go of after the test. */
async function open(): Promise<Socket> {
  const socket = await dial(server.url);
  sockets.push(socket);
  return socket;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.close();
});

describe('connections that send no request', () => {
  it('idle connections beyond the limit give way to one that sends a request', async () => {
    const { fetch, connections } = await start({ limits: { connections: 20 } });
    for (let count = 0; count < 50; count += 1) await open();
    expect((await fetch('/livez')).status).toBe(200);
    expect(await connections()).toBeLessThanOrEqual(20);
  });

  it('connections beyond the limit do not push out a request that is being served', async () => {
    const { fetch, services } = await start({ limits: { connections: 10 } });
    let answer: (watch: null) => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      services.watches.get = () => {
        resolve();
        return new Promise((settle) => (answer = settle));
      };
    });
    const response = fetch('/v1/watches/r');
    await asked;
    for (let count = 0; count < 30; count += 1) await open();
    answer(null);
    expect((await response).status).toBe(404);
  });

  it.each([
    ['nothing', ''],
    ['half a head', 'GET /livez HTTP/1.1\r\nhost: lo'],
  ])('connections with %s are answered 408 and closed in both directions', async (_what, bytes) => {
    const { connections } = await start({ limits: { headersMs: 50 } });
    const socket = await open();
    socket.write(bytes);
    expect(await readToEnd(socket)).toMatch(/^HTTP\/1.1 408 [^]*"code":"request_timeout"/);
    // The client never closes its half.
    await waitFor(async () => (await connections()) === 0);
  });
});

describe('requests that are never whole', () => {
  const half = (path: string, length: number, more: string[] = []) =>
    [`POST ${path} HTTP/1.1`, 'host: localhost', 'content-type: application/json', ...more]
      .concat(`content-length: ${length}`, '', '{')
      .join('\r\n');

  it('requests without a token that are never whole give way to those with one', async () => {
    const tokens = [{ name: 'ops', token: 'ops-token-of-16-', scopes: ['read' as const] }];
    const { fetch } = await start({ tokens, limits: { connections: 20 } });
    for (let count = 0; count < 60; count += 1) {
      const socket = await open();
      socket.write(half('/session', 90));
    }
    const headers = { authorization: 'Bearer ops-token-of-16-' };
    expect((await fetch('/v1/watches', { headers })).status).toBe(200);
    expect((await fetch('/livez')).status).toBe(200);
  });

  it('a request with a token that is not whole yet gives way to nothing', async () => {
    const tokens = [{ name: 'ops', token: 'ops-token-of-16-', scopes: ['write' as const] }];
    const { services } = await start({ tokens, limits: { connections: 10 } });
    const socket = await open();
    const answer = readToEnd(socket);
    const body = JSON.stringify({ run_id: 'r-1' });
    socket.write(half('/v1/watches', body.length, ['authorization: Bearer ops-token-of-16-']));
    for (let count = 0; count < 40; count += 1) {
      const other = await open();
      other.write(half('/session', 90));
    }
    socket.end(body.slice(1));
    expect(await answer).toMatch(/^HTTP\/1.1 20[01] /);
    expect(services.calls.registered).toHaveLength(1);
  });

  it('unfinished bodies of 64 MiB in all are the most, and the next request is asked to wait', async () => {
    const { post } = await start();
    for (let count = 0; count < 64; count += 1) {
      const socket = await open();
      socket.write(half('/v1/watches', 1_048_576));
    }
    await waitFor(async () => (await post('/v1/watches', { run_id: 'r-1' })).status === 429);
    const refused = await post('/v1/watches', { run_id: 'r-1' });
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toMatchObject({ code: 'too_many_requests' });
    for (const socket of sockets.splice(0)) socket.destroy();
    await waitFor(async () => (await post('/v1/watches', { run_id: 'r-1' })).ok);
  });

  it('a sign-in takes no more than 2 KiB', async () => {
    const { post } = await start();
    const { status } = await post('/session', { token: 'x'.repeat(2_100), path: '/' });
    expect(status).toBe(413);
  });
});

describe('a connection that the server ends', () => {
  it.each([
    ['after what is not HTTP', {}, 'hello\r\n\r\n'],
    ['after a head above 16 KiB', {}, rawRequest('GET /livez', { 'x-a': 'a'.repeat(17_000) })],
    ['after an answer that was to be the last', {}, rawRequest('GET /livez', HOST)],
  ])(
    'a connection that ends by %s is closed although its peer keeps its half open',
    async (_what, options, bytes) => {
      const { connections } = await start(options);
      const socket = await open();
      socket.write(bytes);
      expect(await readToEnd(socket)).toMatch(/^HTTP\/1.1 /);
      await waitFor(async () => (await connections()) === 0);
    },
  );

  it('a connection of a refused request is closed before the body is read', async () => {
    const tokens = [{ name: 'ops', token: 'ops-token-1', scopes: ['read' as const] }];
    const { url, connections } = await start({ tokens });
    const socket = await open();
    const answer = readToEnd(socket);
    const size = 600_000_000;
    socket.write(`POST /v1/watches HTTP/1.1\r\nhost: x\r\ncontent-length: ${size}\r\n\r\n`);
    socket.write('x'.repeat(1_000));
    expect(await answer).toMatch(/^HTTP\/1.1 401 [^]*connection: close/i);
    await waitFor(async () => (await connections()) === 0);
    expect(await sendRaw(url, rawRequest('GET /livez', HOST))).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('requests that are pipelined', () => {
  it('pipelined requests are served two at a time and answered in order', async () => {
    const { services } = await start();
    const held: (() => void)[] = [];
    let most = 0;
    services.watches.get = async ({ runId }) => {
      await new Promise<void>((resolve) => {
        held.push(resolve);
        most = Math.max(most, held.length);
      });
      return aWatch({ runId });
    };
    const socket = await open();
    const ids = Array.from({ length: 60 }, (_, at) => `r-${at}`);
    const answers = readToEnd(socket);
    const requests = ids.map((id) => `GET /v1/watches/${id} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    socket.write(requests.join(''));
    await waitFor(() => held.length === 2);
    for (let answered = 0; answered < ids.length; answered += 1) {
      await waitFor(() => held.length > 0);
      held.shift()?.();
    }
    socket.end();
    const answered = [...(await answers).matchAll(/"run_id":"(r-\d+)"/g)].map(([, id]) => id);
    expect(answered).toEqual(ids);
    expect(most).toBe(2);
  });

  it('pipelined requests are read no further while 16 are worked on, however many were answered', async () => {
    const held: ServerResponse[] = [];
    const limits = { requestsPerConnection: 16, headersMs: 0, requestMs: 0, keepAliveMs: 0 };
    const node = createNodeServer((_request, response) => void held.push(response), {
      ...limits,
      connections: 1,
      silenceMs: 0,
    });
    let read = 0;
    node.on('request', () => (read += 1));
    node.listen(0, '127.0.0.1');
    await once(node, 'listening');
    const { port } = node.address() as AddressInfo;
    const socket = await dial(`http://127.0.0.1:${port}`);
    socket.resume().write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(100_000));
    for (let answered = 0; answered < 200; answered += 1) {
      await waitFor(() => held.length === 16);
      held.shift()?.end();
    }
    // The rest of one chunk may have come on top.
    expect(read).toBeLessThan(200 + 16 + 4_000);
    socket.destroy();
    node.close();
  });

  it('pipelined requests for metrics render them at most once a second', async () => {
    let made = 0;
    const render = () => Promise.resolve(`made ${(made += 1)}\n`);
    const { url } = await start({
      metrics: { contentType: 'text/plain', render, httpRequest: () => undefined },
    });
    const first = 'GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(100);
    const startedAt = performance.now();
    const answer = await sendRaw(url, first + rawRequest('GET /metrics', HOST));
    const seconds = (performance.now() - startedAt) / 1_000;
    expect(answer.match(/^made \d+$/gm)).toHaveLength(101);
    expect(made).toBeLessThanOrEqual(1 + Math.floor(seconds));
  });
});

describe('a request that takes longer than its limit', () => {
  it.each([
    ['GET', '/v1/watches/r', undefined],
    ['DELETE', '/v1/watches/r', undefined],
    ['POST', '/v1/watches/r/poll', undefined],
    ['POST', '/v1/watches', { run_id: 'r' }],
    ['POST', '/v1/watches/batch', { watches: [{ run_id: 'r' }] }],
    ['POST', '/v1/deliveries/redeliver', {}],
    ['POST', '/v1/endpoints/ops/rotate', { overlap: '1h' }],
  ])('a slow handler is answered 503 within the limit: %s %s', async (method, path, body) => {
    const { services, fetch } = await start({ limits: { handlerMs: 50 } });
    const hang = () => PENDING;
    Object.assign(services.watches, { get: hang, unwatch: hang, pollNow: hang, register: hang });
    services.deliveries.redeliverMany = hang;
    services.endpoints.rotate = hang;
    const headers = { 'content-type': 'application/json' };
    const sent = body === undefined ? {} : { headers, body: JSON.stringify(body) };
    const response = await fetch(path, { method, ...sent });
    expect([response.status, await response.json()]).toEqual([
      503,
      expect.objectContaining({ code: 'timeout' }),
    ]);
  });

  it('a request with a slow body is answered 408, and closed', async () => {
    const { connections } = await start({ limits: { handlerMs: 50 } });
    const socket = await open();
    socket.write(
      'POST /v1/watches HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{"run',
    );
    expect(await readToEnd(socket)).toMatch(/^HTTP\/1.1 408 [^]*"code":"request_timeout"/);
    await waitFor(async () => (await connections()) === 0);
  });
});
