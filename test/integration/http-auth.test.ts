import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { batchResults } from '../../src/http/schemas/watch.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { ROUTES } from '../support/routes.ts';
import { rawRequest, sendRaw } from '../support/raw-http.ts';

interface ApiDocument {
  paths: Record<string, Record<string, { description?: string; security: { token?: string[] }[] }>>;
}

const tokens = [
  { name: 'reader', token: 'read-token-1', scopes: ['read' as const] },
  { name: 'writer', token: 'write-token-1', scopes: ['write' as const] },
  { name: 'operator', token: 'admin-token-1', scopes: ['admin' as const] },
  {
    name: 'ops',
    token: 'ops-token-1',
    scopes: ['read' as const, 'write' as const, 'admin' as const],
  },
];

/** Every call of the API, with the scope that it needs. */
const routes = ROUTES.map(({ route, scope }) => {
  const [method = '', path = ''] = route.split(' ');
  return [method, path, scope] as const;
});

describe('a server with tokens', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startServer({ tokens });
  });

  afterAll(() => server.close());

  const call = (method: string, path: string, authorization?: string, body?: string) =>
    server.fetch(path.replace(/\{\w+\}/, 'x'), {
      method,
      headers: {
        ...(authorization && { authorization }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
    });

  it('a token with as many active watches as it may have gets 409, in a batch for each item', async () => {
    const limited = { name: 'few', token: 'token-of-few-watches', max_watches: 1 };
    const small = await startServer({ tokens: [{ ...limited, scopes: ['read', 'write'] }] });
    const register = async (path: string, body: object) => {
      const headers = {
        authorization: `Bearer ${limited.token}`,
        'content-type': 'application/json',
      };
      const answer = await small.fetch(path, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      });
      return { status: answer.status, body: await answer.json() };
    };
    expect((await register('/v1/watches', { run_id: 'first' })).status).toBe(201);
    const detail = expect.stringContaining('"few" has registered 1 active watches');
    expect(await register('/v1/watches', { run_id: 'second' })).toMatchObject({
      status: 409,
      body: { code: 'too_many_watches', detail },
    });
    const watches = [{ run_id: 'first' }, { run_id: 'second' }];
    const { body } = await register('/v1/watches/batch', { watches });
    expect(batchResults.parse(body).results).toMatchObject([
      { run_id: 'first', status: 200 },
      { run_id: 'second', status: 409, error: { code: 'too_many_watches', detail, errors: [] } },
    ]);
    await small.close();
  });

  it.each([
    ['/v1/deliveries/d/redeliver', { endpoint: 'ops' }],
    ['/v1/deliveries/redeliver', { to: 'ops' }],
  ])(
    'sends by %s to another endpoint for a token with the scope admin alone',
    async (path, body) => {
      const statuses: number[] = [];
      for (const name of ['write', 'admin', 'ops']) {
        const response = await server.fetch(path, {
          method: 'POST',
          headers: { authorization: `Bearer ${name}-token-1`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        statuses.push(response.status);
      }
      // No endpoint is configured here: what may do so is refused for that.
      expect(statuses).toEqual([403, 422, 422]);
    },
  );

  it('purging a watch takes a token with the scope admin alone', async () => {
    const statuses: number[] = [];
    for (const name of ['write', 'admin', 'ops']) {
      const headers = { authorization: `Bearer ${name}-token-1` };
      const path = '/v1/watches/none?purge=true';
      statuses.push((await server.fetch(path, { method: 'DELETE', headers })).status);
    }
    expect(statuses).toEqual([403, 404, 404]);
  });

  describe.each([...routes, ['HEAD', '/v1/watches', 'read'] as const])(
    'asked for %s %s',
    (method, path, scope) => {
      it.each([
        ['no token', undefined],
        ['an unknown token', 'Bearer other-token'],
        ['the beginning of a token', 'Bearer ops-token'],
        ['another scheme', 'Basic b3BzLXRva2VuLTE='],
        ['an empty token', 'Bearer '],
        ['two tokens', 'Bearer ops-token-1, Bearer ops-token-1'],
      ])('a route with tokens refuses %s with a challenge', async (_what, authorization) => {
        const response = await call(method, path, authorization);
        expect(response.status).toBe(401);
        expect(response.headers.get('www-authenticate')).toMatch(/^Bearer realm="runwatch"/);
        expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      });

      it.each(['read', 'write', 'admin'].filter((other) => other !== scope))(
        'refuses a token that has only the scope %s, and names the one that is missing',
        async (other) => {
          // Which scope it is may be up to the body.
          const body = method === 'POST' ? '{}' : undefined;
          const response = await call(method, path, `Bearer ${other}-token-1`, body);
          expect(response.status).toBe(403);
          expect(response.headers.get('www-authenticate')).toContain(`scope="${scope}"`);
          if (method === 'HEAD') return;
          const { detail } = (await response.json()) as { detail: string };
          expect(detail).toMatch(new RegExp(`lacks the scope ${scope}$`));
        },
      );

      it.each([`${scope}-token-1`, 'ops-token-1'])('a route takes %s', async (token) => {
        const response = await call(method, path, `bearer ${token}`);
        expect([200, 400, 404, 422]).toContain(response.status);
      });
    },
  );

  it('every route names in the API document the scope that it needs', async () => {
    const { paths } = (await (await server.fetch('/openapi.json')).json()) as ApiDocument;
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { security, description }]) => {
        const [{ token: scopes = [] } = {}] = security;
        if (scopes.length > 0) expect(description).toContain(`with the scope \`${scopes[0]}\`.`);
        return [method.toUpperCase(), path, ...scopes].join(' ');
      }),
    );
    const open = ['GET /livez', 'GET /readyz', 'GET /metrics'];
    const expected = [...open, ...routes.map((route) => route.join(' '))];
    expect(documented.sort()).toEqual(expected.sort());
  });

  it.each(['/livez', '/readyz', '/openapi.json', '/docs', '/docs/json'])(
    'shows %s without a token',
    async (path) => {
      expect((await server.fetch(path)).status).toBe(200);
    },
  );

  it('a token that may only write sees nothing that others gave to a watch', async () => {
    const given = { metadata: { team: 'secret-team' }, run_id: 'shared' };
    const register = (token: string, path: string, body: object) =>
      server.fetch(path, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const full = await register('ops-token-1', '/v1/watches', given);
    expect(await full.json()).toMatchObject(given);
    const receipt = { run_id: 'shared', source: 'default' };
    const one = await register('write-token-1', '/v1/watches', { run_id: 'shared' });
    expect([one.status, await one.json()]).toEqual([200, receipt]);
    const watches = [{ run_id: 'shared' }];
    const batch = await register('write-token-1', '/v1/watches/batch', { watches });
    expect(await batch.json()).toEqual({
      results: [{ run_id: 'shared', status: 200, watch: receipt }],
    });
  });

  it.each([
    ['/v1/deliveries/d/redeliver', { endpoint: 'ops' }],
    ['/v1/deliveries/redeliver', { to: 'ops' }],
  ])(
    'redelivery to another endpoint needs admin instead of write: %s with %j',
    async (path, body) => {
      const answer = await server.fetch(path, {
        method: 'POST',
        headers: { authorization: 'Bearer write-token-1', 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect(answer.status).toBe(403);
      expect(answer.headers.get('www-authenticate')).toContain('scope="admin"');
      expect(await answer.json()).toMatchObject({ detail: expect.stringMatching(/scope admin$/) });
    },
  );

  it('a request without a token is refused before its body is read', async () => {
    const response = await server.fetch('/v1/watches', { method: 'POST', body: 'not JSON' });
    expect(response.status).toBe(401);
  });

  it('a server with tokens may be reached by any host name', async () => {
    const headers = { host: 'runwatch.example.com', authorization: 'Bearer ops-token-1' };
    const answer = await sendRaw(server.url, rawRequest('GET /v1/watches', headers));
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('the log of a server with tokens', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await startServer({ tokens });
  });

  afterEach(() => server.close());

  const get = (path: string, token: string) =>
    server.fetch(path, { headers: { authorization: `Bearer ${token}` } });

  it('a log line of a request has the name of its token and never the token', async () => {
    await get('/v1/watches/r', 'ops-token-1');
    await get('/v1/watches/r', 'guessed-token');
    expect(server.lines).toMatchObject([
      { level: 'info', fields: { status: 404, token: 'ops' } },
      { level: 'info', fields: { status: 401, token: null, remote_address: '127.0.0.1' } },
    ]);
    expect(JSON.stringify(server.lines)).not.toMatch(/ops-token|guessed-token/);
  });

  it('the log has one line for each address that guesses tokens or paths', async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      await get('/v1/watches', `guess-${turn}`);
      await get(`/guess-${turn}`, 'ops-token-1');
    }
    const elsewhere = rawRequest('GET /v1/watches', { host: 'localhost' });
    await sendRaw(server.url, elsewhere, '127.0.0.2');
    expect(server.lines.map(({ fields }) => fields)).toMatchObject([
      { status: 401, remote_address: '127.0.0.1' },
      { status: 404, route: null, remote_address: '127.0.0.1' },
      { status: 401, remote_address: '127.0.0.2' },
    ]);
  });
});

describe('a server with tokens where nothing is public', () => {
  let server: TestServer;

  beforeAll(async () => {
    const metrics = {
      contentType: 'text/plain',
      render: () => Promise.resolve('up 1\n'),
      httpRequest: () => undefined,
    };
    server = await startServer({ tokens, public: [], metrics });
  });

  afterAll(() => server.close());

  it.each(['/metrics', '/openapi.json', '/docs', '/docs/json'])(
    'shows %s to readers',
    async (path) => {
      const get = async (token?: string) => {
        const headers: Record<string, string> =
          token === undefined ? {} : { authorization: `Bearer ${token}` };
        return (await server.fetch(path, { headers })).status;
      };
      expect(await get()).toBe(401);
      expect(await get('admin-token-1')).toBe(403);
      expect(await get('read-token-1')).toBe(200);
    },
  );

  it.each(['/livez', '/readyz'])(
    'the probe %s needs no token although nothing is public',
    async (path) => {
      expect((await server.fetch(path)).status).toBe(200);
    },
  );
});

describe('a second Host header', () => {
  it.each([true, false])('a second Host header is refused, with tokens: %p', async (hasTokens) => {
    const server = await startServer(hasTokens ? { tokens } : {});
    const request =
      'GET /livez HTTP/1.1\r\nhost: localhost\r\nHOST: evil\r\nconnection: close\r\n\r\n';
    const answer = await sendRaw(server.url, request);
    await server.close();
    expect(answer).toMatch(/^HTTP\/1.1 400 [^]*send one Host header/);
  });
});

describe('a server without tokens', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startServer();
  });

  afterAll(() => server.close());

  const get = (path: string, headers: Record<string, string>) =>
    sendRaw(server.url, rawRequest(`GET ${path}`, headers));

  it.each(['localhost', 'LOCALHOST:8787', '127.0.0.1:1', '127.8.0.1', '[::1]', '[::1]:8787'])(
    'answers to %s',
    async (host) => {
      expect(await get('/v1/watches', { host })).toMatch(/^HTTP\/1.1 200 /);
    },
  );

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil@localhost',
    '10.0.0.1',
    '[::2]',
    'localhost:8787:1',
    '',
  ])('a server without tokens does not answer to the host "%s"', async (host) => {
    const answer = await get('/v1/watches', { host });
    expect(answer).toMatch(/^HTTP\/1.1 403 /);
    expect(answer).toContain('host_not_allowed');
  });

  it.each([
    ['forwarded', 'for=192.0.2.1'],
    ['x-forwarded-for', '192.0.2.1'],
    ['x-forwarded-proto', 'https'],
    ['sec-fetch-site', 'cross-site'],
  ])('a server without tokens refuses what came from elsewhere: %s', async (name, value) => {
    const answer = await get('/v1/watches', { host: 'localhost:8787', [name]: value });
    expect(answer).toMatch(/^HTTP\/1.1 403 /);
    expect(answer).toContain('token_needed');
    for (const path of ['/livez', '/readyz', '/metrics']) {
      expect(await get(path, { host: 'localhost:8787', [name]: value })).not.toMatch(/ 403 /);
    }
  });

  it('a path without a slash is answered as an unknown one', async () => {
    expect(await get('*', { host: 'localhost:8787' })).toMatch(/^HTTP\/1.1 (200|404) /);
  });

  it.each(['https://evil.example', 'http://localhost:3000', 'null'])(
    'takes no request from a page of %s',
    async (origin) => {
      const answer = await get('/v1/watches', { host: 'localhost:8787', origin });
      expect(answer).toMatch(/^HTTP\/1.1 403 /);
      expect(answer).toContain('origin_not_allowed');
    },
  );

  it('a server without tokens takes requests from its own pages', async () => {
    const own = { host: 'localhost:8787', origin: 'http://localhost:8787' };
    expect(await get('/v1/watches', own)).toMatch(/^HTTP\/1.1 200 /);
  });

  it('a server without tokens answers probes by any host name', async () => {
    expect(await get('/livez', { host: 'pod-1' })).toMatch(/^HTTP\/1.1 200 /);
    expect(await get('/readyz', { host: 'pod-1' })).toMatch(/^HTTP\/1.1 200 /);
  });
});
