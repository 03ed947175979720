import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import https from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Names } from '../../src/names.ts';
import { createSourceClient, type SourceClientOptions } from '../../src/fetch/client.ts';
import { createStreamConnections } from '../../src/fetch/event-stream.ts';
import { noxusHeaders } from '../../src/noxus/port.ts';
import { runRequest } from '../../src/noxus/run.ts';
import { streamsOfRuns } from '../../src/noxus/run-events.ts';
import { CERT_FOR_LOCALHOST, TEST_CA, TEST_KEY } from '../support/certificates.ts';
import { startConnectProxy } from '../support/connect-proxy.ts';
import { A_MESSAGE, failureOf, webhooks } from '../support/webhooks.ts';

const releasers: (() => unknown)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

const RUN = { id: 'run-1', status: 'running', progress: 40, workflow_id: 'wf-1' };

/** A server on loopback, and how many requests it had. @returns its port */
async function serve(handler: RequestListener, { secure }: { secure: boolean }): Promise<number> {
  const server = secure
    ? https.createServer({ key: TEST_KEY, cert: CERT_FOR_LOCALHOST }, handler)
    : createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  releasers.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

async function proxy(options = {}) {
  const started = await startConnectProxy(options);
  releasers.push(() => started.close());
  return started;
}

describe('a source', () => {
  const noxus: RequestListener = (_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(RUN));
  };

  function read(baseUrl: string, options: Partial<SourceClientOptions>) {
    const client = createSourceClient({
      baseUrl,
      headers: noxusHeaders('key'),
      timeoutMs: 5_000,
      userAgent: 'runwatch/test',
      maxSockets: 2,
      ...options,
    });
    releasers.push(() => client.close());
    return client.send(runRequest('run-1'));
  }

  test.each([true, false])('a source is read through its proxy, over TLS: %p', async (secure) => {
    const port = await serve(noxus, { secure });
    const { port: proxyPort, tunnels } = await proxy();
    const url = `${secure ? 'https' : 'http'}://localhost:${port}`;
    const options = { ca: TEST_CA, proxy: `http://me:p%40ss@127.0.0.1:${proxyPort}` };
    expect(await read(url, options)).toMatchObject({ kind: 'run' });
    const authorization = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    expect(tunnels).toEqual([{ authority: `localhost:${port}`, authorization }]);
  });

  test('a source with a private authority is read when ca_file names it, and not without', async () => {
    const url = `https://localhost:${await serve(noxus, { secure: true })}`;
    expect(await read(url, { ca: TEST_CA })).toMatchObject({ kind: 'run' });
    expect(await read(url, {})).toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('certificate'),
    });
  });

  test('a proxy that refuses the tunnel is named, without its credentials', async () => {
    const { port } = await proxy({ status: 407 });
    const options = { proxy: `http://me:secret@127.0.0.1:${port}` };
    const result = await read('https://noxus.example', options);
    expect(result).toMatchObject({
      kind: 'unavailable',
      message: `the proxy 127.0.0.1:${port} answered 407 to CONNECT noxus.example:443`,
    });
  });

  test('a stream of a source ends at its deadline, also where the handshake through the proxy hangs', async () => {
    const { port: silent, close } = await listenSilently();
    releasers.push(close);
    const { port, tunnels } = await proxy();
    const requests: unknown[] = [];
    const streams = createStreamConnections({
      baseUrl: `https://localhost:${silent}`,
      headers: noxusHeaders('key'),
      timeoutMs: 200,
      userAgent: 'runwatch/test',
      maxSockets: 2,
      proxy: `http://127.0.0.1:${port}`,
      now: Date.now,
      onRequest: (request) => void requests.push(request),
    });
    const { signal } = new AbortController();
    const listener = { etag: null, onLive: () => undefined, onNote: () => undefined, signal };
    expect(await streamsOfRuns(streams).follow('run-1', listener)).toEqual({
      kind: 'failed',
      status: null,
    });
    expect(requests).toEqual([{ kind: 'stream', status: null }]);
    expect(tunnels).toHaveLength(1);
  });
});

test('a stream that this host has no descriptor for is no failure of its source', async () => {
  const shortage = Object.assign(new Error('no descriptor'), { code: 'EMFILE' });
  const requests: unknown[] = [];
  const streams = createStreamConnections({
    baseUrl: 'http://noxus.example',
    headers: noxusHeaders('key'),
    timeoutMs: 60_000,
    userAgent: 'runwatch/test',
    maxSockets: 2,
    names: new Names(() => Promise.reject(shortage)),
    now: Date.now,
    onRequest: (request) => void requests.push(request),
  });
  const { signal } = new AbortController();
  const listener = { etag: null, onLive: () => undefined, onNote: () => undefined, signal };
  expect(await streamsOfRuns(streams).follow('run-1', listener)).toMatchObject({
    kind: 'unsent',
    error: { code: 'EMFILE' },
  });
  expect(requests).toEqual([]);
});

/** A server that takes connections and answers nothing. */
async function listenSilently() {
  const server = createTcpServer((socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => server.close();
  return { port: (server.address() as AddressInfo).port, close };
}

describe('webhooks with egress.proxy', () => {
  function proxied(proxyUrl: string, allow: string[] = []) {
    const hooks = webhooks({ allow, proxy: proxyUrl, resolve: () => Promise.reject(new Error()) });
    releasers.push(() => hooks.close());
    return hooks;
  }

  test('a webhook goes through the proxy, which resolves its name; of the answer the status is kept', async () => {
    const received: string[] = [];
    const port = await serve(
      (request, response) => {
        received.push(request.headers.host ?? '');
        response.end('private');
      },
      { secure: true },
    );
    const { port: proxyPort, tunnels } = await proxy();
    const hooks = proxied(`http://127.0.0.1:${proxyPort}`);
    const target = { tls: { ca: TEST_CA }, isGuarded: true };
    // The certificate is for localhost; this name means the same to the proxy.
    const url = `https://hooks.example.com:${port}/`;
    expect(failureOf(await hooks.to(url, target).send(A_MESSAGE)).code).toBe('tls');
    expect(tunnels[0]?.authority).toBe(`hooks.example.com:${port}`);

    const allowed = proxied(`http://127.0.0.1:${proxyPort}`, [`localhost:${port}`]);
    const local = allowed.to(`https://localhost:${port}/`, target);
    for (const _ of [1, 2]) {
      const outcome = await local.send(A_MESSAGE);
      expect(outcome).toMatchObject({
        kind: 'delivered',
        attempt: { status: 200, response: null },
      });
    }
    expect(received).toHaveLength(2);
    // The tunnel is kept for the second one.
    expect(tunnels).toHaveLength(2);
  });

  test.each([
    ['https://169.254.169.254/', 'metadata'],
    ['https://10.0.0.1/', 'private'],
    ['https://localhost/', 'loopback'],
    // The name cannot be shown to lie in the range that is allowed.
    ['http://internal.example/', 'https_required'],
  ])('the guard refuses %s (%s) and opens no tunnel', async (url, rule) => {
    const { port, tunnels } = await proxy();
    const hooks = proxied(`http://127.0.0.1:${port}`, ['192.168.0.0/16']);
    expect(failureOf(await hooks.to(url).send(A_MESSAGE))).toMatchObject({
      code: 'egress_blocked',
      message: expect.stringContaining(`(${rule})`),
    });
    expect(tunnels).toEqual([]);
  });

  test('an attempt says that the proxy refused or could not be reached', async () => {
    const { port } = await proxy({ status: 403 });
    const refused = proxied(`http://127.0.0.1:${port}`).to('https://hooks.example.com/');
    expect(failureOf(await refused.send(A_MESSAGE))).toEqual({
      code: 'proxy',
      message: `the proxy 127.0.0.1:${port} answered 403 to CONNECT hooks.example.com:443`,
    });
    const away = proxied('http://127.0.0.1:1').to('https://hooks.example.com/');
    expect(failureOf(await away.send(A_MESSAGE))).toEqual({
      code: 'proxy',
      message: 'the proxy 127.0.0.1:1 could not be reached (ECONNREFUSED)',
    });
  });
});
