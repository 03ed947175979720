import { afterEach, describe, expect, test } from '@jest/globals';
import { startServer, type TestServer } from '../support/http-server.ts';

const TOKEN = 'a-token-that-may-do-everything';

const servers: TestServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function open(options: Parameters<typeof startServer>[0] = {}): Promise<TestServer> {
  const server = await startServer({
    tokens: [{ name: 'ops', token: TOKEN, scopes: ['read', 'write', 'admin'] }],
    public: [],
    ...options,
  });
  servers.push(server);
  return server;
}

async function signIn(server: TestServer, path = '/') {
  const response = await server.post('/session', { token: TOKEN, path });
  expect(response.status).toBe(200);
  const cookie = response.headers.get('set-cookie')?.split(';')[0] ?? '';
  const { csrf } = (await response.json()) as { csrf: string };
  return { cookie, headers: { cookie, 'x-runwatch-csrf': csrf } };
}

const json = async (response: Response) => (await response.json()) as Record<string, unknown>;

/** Every operation of the API with its path filled in. */
async function operations(server: TestServer): Promise<[method: string, path: string][]> {
  const document = await server.fetch('/openapi.json', {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const { paths } = (await document.json()) as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method): [string, string] => [
      method.toUpperCase(),
      path.replaceAll(/\{\w+\}/g, 'x'),
    ]),
  );
}

describe("a session's cookie", () => {
  test('a cookie without its value opens no route of the API, by whatever method', async () => {
    const server = await open();
    const { cookie } = await signIn(server);
    const all = (await operations(server)).filter(([, path]) => path.startsWith('/v1/'));
    expect(all.length).toBeGreaterThan(40);
    for (const value of [{}, { 'x-runwatch-csrf': 'wrong' }]) {
      for (const [method, path] of all) {
        const response = await server.fetch(path, { method, headers: { cookie, ...value } });
        expect([method, path, response.status]).toEqual([method, path, 403]);
        expect(await json(response)).toMatchObject({ code: 'origin_not_allowed' });
      }
    }
    expect((await server.fetch('/configuration', { headers: { cookie } })).status).not.toBe(200);
  });

  test('a cookie with its value reads, changes and follows events', async () => {
    const server = await open();
    const { headers } = await signIn(server);
    expect((await server.fetch('/v1/watches', { headers })).status).toBe(200);
    const cancelled = await server.fetch('/v1/watches/run-1?source=default', {
      method: 'DELETE',
      headers,
    });
    expect(cancelled.status).not.toBe(403);
    const stream = await server.fetch('/v1/events/stream', { headers });
    expect(stream.status).toBe(200);
    await stream.body?.cancel();
  });

  test('the value is given at sign-in alone, and without it nobody is signed in', async () => {
    const server = await open();
    const { cookie, headers } = await signIn(server);
    const alone = await json(await server.fetch('/session', { headers: { cookie } }));
    expect(alone).toEqual({ state: 'signed_out', token: null, scopes: [], version: null });
    const proved = await json(await server.fetch('/session', { headers }));
    expect(proved).toMatchObject({ state: 'signed_in', token: 'ops', version: '1.2.3' });
    expect(JSON.stringify(proved)).not.toContain(headers['x-runwatch-csrf']);
  });

  test.each(['/docs', '/openapi.json', '/metrics'])(
    'a cookie alone opens %s, as a link does',
    async (path) => {
      const metrics = { contentType: 'text/plain', render: async () => 'up 1\n', httpRequest() {} };
      const server = await open({ metrics });
      const { cookie } = await signIn(server);
      expect((await server.fetch(path, { headers: { cookie } })).status).toBe(200);
      expect((await server.fetch(path)).status).toBe(401);
      expect((await server.fetch(path, { headers: { cookie: `${cookie}x` } })).status).toBe(401);
    },
  );

  test('the name of a cookie carries the port and path of the page', async () => {
    const server = await open();
    const { port } = new URL(server.url);
    const [root, below] = [await signIn(server), await signIn(server, '/tools/runwatch/')];
    expect(root.cookie).toMatch(new RegExp(`^runwatch_session_${port}=`));
    expect(below.cookie).toMatch(new RegExp(`^runwatch_session_${port}_tools%2Frunwatch=`));
    const cookie = `${below.cookie}; ${root.cookie}`;
    for (const { headers } of [root, below]) {
      const response = await server.fetch('/v1/watches', { headers: { ...headers, cookie } });
      expect(response.status).toBe(200);
    }
  });
});

describe('the end of a session', () => {
  test('a session that is signed out opens nothing any more, and its event streams end', async () => {
    const server = await open({ limits: { heartbeatMs: 20, stallMs: 30_000 } });
    const { cookie, headers } = await signIn(server);
    const other = await signIn(server);
    const stream = await server.fetch('/v1/events/stream', { headers });
    const forged = await server.fetch('/session?path=/', { method: 'DELETE', headers: { cookie } });
    expect(forged.status).toBe(403);
    const out = await server.fetch('/session?path=/', { method: 'DELETE', headers });
    expect(out.status).toBe(204);
    expect(out.headers.get('set-cookie')).toMatch(/^runwatch_session_\d+=; Path=\/; Max-Age=0;/);
    await stream.text();
    expect((await server.fetch('/v1/watches', { headers })).status).toBe(401);
    expect((await server.fetch('/docs', { headers: { cookie } })).status).toBe(401);
    expect(await json(await server.fetch('/session', { headers }))).toMatchObject({
      state: 'signed_out',
    });
    expect((await server.fetch('/v1/watches', { headers: other.headers })).status).toBe(200);
  });

  test('while the store is away sessions hold, and a sign-out says that it holds here alone', async () => {
    const server = await open({ isStoreReady: () => false });
    server.services.endedSessions.add = () => Promise.reject(new Error('no connection'));
    const { headers } = await signIn(server);
    const session = await json(await server.fetch('/session', { headers }));
    expect(session).toMatchObject({ state: 'signed_in' });
    const out = await server.fetch('/session?path=/', { method: 'DELETE', headers });
    expect(out.status).toBe(503);
    expect(await json(out)).toMatchObject({ code: 'redis_unavailable' });
    expect(out.headers.get('set-cookie')).toMatch(/Max-Age=0/);
    expect((await server.fetch('/v1/watches', { headers })).status).toBe(401);
  });
});
