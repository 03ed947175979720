import { afterEach, describe, expect, it } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { createServer, listen } from '../../src/http/server.ts';
import { createTokens } from '../../src/http/tokens.ts';
import { waitFor } from '../support/wait-for.ts';
import { testDaemon } from '../support/daemon.ts';
import { fakeServices, servicesOf } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

const ignore = () => undefined;

let server: TestServer;

async function start(options: Parameters<typeof startServer>[0] = {}): Promise<TestServer> {
  server = await startServer(options);
  return server;
}

afterEach(() => server.close());

describe('livez', () => {
  it('livez answers although everything else fails', async () => {
    const { services, fetch } = await start({ stopping: AbortSignal.abort() });
    services.health.checks = () => Promise.reject(new Error('nothing works'));
    const response = await fetch('/livez');
    expect([response.status, await response.text()]).toEqual([200, 'ok\n']);
  });
});

describe('readyz', () => {
  it('readyz has one line for each check', async () => {
    const { services, fetch } = await start();
    services.checks.push({
      name: 'noxus',
      status: 'degraded',
      detail: 'source default\nis paused',
    });
    const response = await fetch('/readyz');
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(
      'ok redis: answers\ndegraded noxus: source default is paused\n',
    );
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
  });

  it('readyz is 503 when a check failed', async () => {
    const { services, fetch } = await start();
    services.checks.push({ name: 'workers', status: 'failed', detail: 'stopped' });
    const response = await fetch('/readyz');
    expect(response.status).toBe(503);
    expect(await response.text()).toContain('failed workers: stopped\n');
  });

  it('readyz is 503 when the checks cannot be made', async () => {
    const { services, fetch } = await start();
    services.health.checks = () => Promise.reject(new Error('no connection'));
    const response = await fetch('/readyz');
    expect([response.status, await response.text()]).toEqual([
      503,
      'failed checks: no connection\n',
    ]);
  });

  it('readyz is 503 while the process ends', async () => {
    const stopping = new AbortController();
    const { fetch } = await start({ stopping: stopping.signal });
    expect((await fetch('/readyz')).status).toBe(200);
    stopping.abort();
    expect((await fetch('/readyz')).status).toBe(503);
  });

  it('readyz says that the process ends where that begins during the checks', async () => {
    const stopping = new AbortController();
    const { services, fetch } = await start({ stopping: stopping.signal });
    services.health.checks = async () => {
      stopping.abort();
      return [{ name: 'poll workers', status: 'failed', detail: 'not running' }];
    };
    expect(await (await fetch('/readyz')).text()).toMatch(/^failed process: is ending/);
  });

  it.each([
    ['?format=json', {}],
    ['', { accept: 'application/json' }],
  ])('readyz is JSON for the query "%s" and headers %p', async (query, headers) => {
    const { fetch } = await start();
    const response = await fetch(`/readyz${query}`, { headers });
    expect(await response.json()).toEqual({
      status: 'ready',
      checks: [{ name: 'redis', status: 'ok', detail: 'answers' }],
    });
  });

  it.each([
    'application/json;q=0',
    'application/json;q=0.2, text/plain',
    'text/plain, */*',
    'application/json-patch+json',
  ])('readyz is text for Accept "%s"', async (accept) => {
    const { fetch } = await start();
    const response = await fetch('/readyz', { headers: { accept } });
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
  });

  it('readyz fills no log', async () => {
    const { services, fetch, lines } = await start();
    services.checks.push({ name: 'workers', status: 'failed', detail: 'stopped' });
    await Promise.all([fetch('/readyz'), fetch('/livez'), fetch('/metrics')]);
    expect(lines).toEqual([]);
  });
});

describe('metrics', () => {
  it('metrics are answered as they are rendered', async () => {
    const contentType = 'text/plain; version=0.0.4; charset=utf-8';
    const render = () => Promise.resolve('up 1\n');
    const { fetch } = await start({ metrics: { contentType, render, httpRequest: ignore } });
    const response = await fetch('/metrics');
    expect(response.headers.get('content-type')).toBe(contentType);
    expect(await response.text()).toBe('up 1\n');
  });

  it('metrics count requests by route pattern, and those without a route together', async () => {
    const counted: string[] = [];
    const { fetch } = await start({
      metrics: {
        contentType: 'text/plain',
        render: () => Promise.resolve(''),
        httpRequest: (route, status) => void counted.push(`${route} ${status}`),
      },
    });
    for (const path of ['/v1/watches/run-1', '/v1/watches', '/wp-login.php']) {
      await (await fetch(path)).arrayBuffer();
    }
    await waitFor(() => counted.length === 3);
    expect(counted.toSorted()).toEqual(['/v1/watches 200', '/v1/watches/:run_id 404', 'null 404']);
  });
});

describe('listening where it cannot be', () => {
  it('listening on a taken port or at an address of another host fails with a sentence', async () => {
    const { url } = await start();
    const port = Number(new URL(url).port);
    const daemon = testDaemon({ tokens: createTokens([]) });
    const { signal } = new AbortController();
    const second = createServer(daemon, servicesOf(fakeServices()), signal);
    const failure = await listen(second, { host: '127.0.0.1', port }).catch((error) => error);
    // An address of the documentation ranges is of no host.
    const elsewhere = await listen(second, { host: '192.0.2.1', port }).catch((error) => error);
    await second.close();
    expect(elsewhere).toMatchObject({
      code: 'cannot_listen',
      message: expect.stringMatching(/^cannot listen on port \d+ of 192\.0\.2\.1: .*EADDRNOTAVAIL/),
    });
    expect(failure).toBeInstanceOf(RunwatchError);
    expect(failure).toMatchObject({
      code: 'port_in_use',
      message: expect.stringContaining(`port ${port} of 127.0.0.1 is in use`),
    });
  });
});
