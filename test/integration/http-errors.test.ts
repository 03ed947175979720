import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { RunwatchError } from '../../src/core/errors.ts';
import { PROBLEMS, type ProblemCode } from '../../src/http/problem.ts';
import { aWatch } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { rawRequest, sendRaw } from '../support/raw-http.ts';

const json = { 'content-type': 'application/json' };

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

beforeEach(() => {
  server.lines.length = 0;
  server.services.store.clear();
});

afterAll(() => server.close());

async function expectProblem(response: Response, code: ProblemCode) {
  const body = await response.json();
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json\b/);
  expect(body).toMatchObject({
    type: `/problems/${code}`,
    title: PROBLEMS[code].title,
    status: PROBLEMS[code].status,
    detail: expect.any(String),
    code,
  });
  expect(response.status).toBe(PROBLEMS[code].status);
  return body as { detail: string; errors?: { path: string; message: string }[] };
}

interface Refused {
  what: string;
  path: string;
  init?: RequestInit;
  code: ProblemCode;
}

const refused: Refused[] = [
  { what: 'an unknown path', path: '/nope', code: 'route_not_found' },
  { what: 'a path below a route', path: '/v1/watches/a/b', code: 'route_not_found' },
  { what: 'an empty run id', path: '/v1/watches/', code: 'invalid_request' },
  {
    what: 'an unknown path with a body that is not JSON',
    path: '/nope',
    init: { method: 'POST', body: 'x' },
    code: 'route_not_found',
  },
  {
    what: 'a method that the path does not take',
    path: '/v1/watches',
    init: { method: 'PUT', body: '{', headers: json },
    code: 'method_not_allowed',
  },
  { what: 'a broken percent code', path: '/v1/watches/%zz', code: 'bad_request' },
  { what: 'a run id of another form', path: '/v1/watches/a%2F%2Fb', code: 'invalid_request' },
  { what: 'a very long run id', path: `/v1/watches/${'a'.repeat(3_000)}`, code: 'invalid_request' },
  { what: 'an unknown run', path: '/v1/watches/r', code: 'watch_not_found' },
  {
    what: 'ending an unknown watch',
    path: '/v1/watches/r',
    init: { method: 'DELETE' },
    code: 'watch_not_found',
  },
  {
    what: 'polling an unknown run',
    path: '/v1/watches/r/poll',
    init: { method: 'POST' },
    code: 'watch_not_found',
  },
  { what: 'an unknown delivery', path: '/v1/deliveries/dlv_0', code: 'delivery_not_found' },
  {
    what: 'delivering an unknown delivery again',
    path: '/v1/deliveries/dlv_0/redeliver',
    init: { method: 'POST' },
    code: 'delivery_not_found',
  },
  {
    what: 'delivering again what has no id',
    path: '/v1/deliveries/a%2Fb/redeliver',
    init: { method: 'POST' },
    code: 'invalid_request',
  },
  {
    what: 'delivering again without saying what',
    path: '/v1/deliveries/redeliver',
    init: { method: 'POST' },
    code: 'empty_body',
  },
  {
    what: 'delivering again by an unknown field',
    path: '/v1/deliveries/redeliver',
    init: { method: 'POST', body: '{"endpiont":"ops"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'delivering again by an unknown state',
    path: '/v1/deliveries/redeliver',
    init: { method: 'POST', body: '{"state":"lost"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'delivering again to an unknown endpoint',
    path: '/v1/deliveries/redeliver',
    init: { method: 'POST', body: '{"endpoint":"opss"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'delivering again from a time that is none',
    path: '/v1/deliveries/redeliver',
    init: { method: 'POST', body: '{"since":"yesterday"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'delivering again from a time without a zone',
    path: '/v1/deliveries/redeliver',
    init: { method: 'POST', body: '{"since":"2025-05-04T10:00:00"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'delivering again in a range that is empty',
    path: '/v1/deliveries/redeliver',
    init: {
      method: 'POST',
      body: '{"since":"2025-05-04T10:00:00Z","until":"2025-05-04T12:00:00+02:00"}',
      headers: json,
    },
    code: 'invalid_request',
  },
  {
    what: 'testing an unknown endpoint',
    path: '/v1/endpoints/nobody/test',
    init: { method: 'POST' },
    code: 'endpoint_not_found',
  },
  {
    what: 'pausing an unknown endpoint',
    path: '/v1/endpoints/nobody/pause',
    init: { method: 'POST' },
    code: 'endpoint_not_found',
  },
  {
    what: 'resuming an unknown endpoint',
    path: '/v1/endpoints/nobody/resume',
    init: { method: 'POST' },
    code: 'endpoint_not_found',
  },
  {
    what: 'enabling an unknown endpoint',
    path: '/v1/endpoints/nobody/retry',
    init: { method: 'POST' },
    code: 'endpoint_not_found',
  },
  {
    what: 'rotating the secret of an unknown endpoint',
    path: '/v1/endpoints/nobody/rotate',
    init: { method: 'POST' },
    code: 'endpoint_not_found',
  },
  {
    what: 'an endpoint name of another form',
    path: '/v1/endpoints/a%20b/pause',
    init: { method: 'POST' },
    code: 'invalid_request',
  },
  {
    what: 'an overlap that is none',
    path: '/v1/endpoints/ops/rotate',
    init: { method: 'POST', body: '{"overlap":"soon"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'an overlap too long',
    path: '/v1/endpoints/ops/rotate',
    init: { method: 'POST', body: '{"overlap":"8d"}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'an unknown field of a rotation',
    path: '/v1/endpoints/ops/rotate',
    init: { method: 'POST', body: '{"secret":"whsec_x"}', headers: json },
    code: 'invalid_request',
  },
  { what: 'metrics where there are none', path: '/metrics', code: 'metrics_not_found' },
  { what: 'an unknown query field', path: '/v1/watches?state=active&x=1', code: 'invalid_request' },
  {
    what: 'a query field of a route that has none',
    path: '/v1/sources?x=1',
    code: 'invalid_request',
  },
  {
    what: 'a field of a body of a route that has none',
    path: '/v1/watches/r-1/poll',
    init: { method: 'POST', body: '{"x":1}', headers: json },
    code: 'invalid_request',
  },
  { what: 'a query field twice', path: '/v1/watches?source=a&source=b', code: 'invalid_request' },
  { what: 'an unknown state', path: '/v1/watches?state=done', code: 'invalid_request' },
  { what: 'an unknown event type', path: '/v1/events?type=run.x', code: 'invalid_request' },
  { what: 'an unknown family', path: '/v1/events?type=alerts.*', code: 'invalid_request' },
  { what: 'a limit too many', path: '/v1/deliveries?limit=201', code: 'invalid_request' },
  { what: 'a cursor of watches', path: '/v1/watches?cursor=x', code: 'invalid_cursor' },
  { what: 'a cursor of events', path: '/v1/events?after=x', code: 'invalid_cursor' },
  { what: 'a cursor of a stream', path: '/v1/events/stream?after=x', code: 'invalid_cursor' },
  { what: 'a cursor of deliveries', path: '/v1/deliveries?cursor=x', code: 'invalid_cursor' },
  {
    what: 'a missing body',
    path: '/v1/watches',
    init: { method: 'POST' },
    code: 'empty_body',
  },
  {
    what: 'an empty body that claims to be JSON',
    path: '/v1/watches',
    init: { method: 'POST', body: '', headers: json },
    code: 'empty_body',
  },
  {
    what: 'half a body',
    path: '/v1/watches',
    init: { method: 'POST', body: '{"run_id"', headers: json },
    code: 'malformed_json',
  },
  {
    what: 'a body that reaches for the prototype',
    path: '/v1/watches',
    init: { method: 'POST', body: '{"__proto__":{"a":1}}', headers: json },
    code: 'invalid_request',
  },
  { what: 'a limit in hexadecimal', path: '/v1/watches?limit=0x10', code: 'invalid_request' },
  { what: 'a limit with an exponent', path: '/v1/watches?limit=1e1', code: 'invalid_request' },
  { what: 'a limit after a space', path: '/v1/watches?limit=%205', code: 'invalid_request' },
  {
    what: 'a body of plain text',
    path: '/v1/watches',
    init: { method: 'POST', body: '{}' },
    code: 'unsupported_media_type',
  },
  {
    what: 'a form',
    path: '/v1/watches',
    init: { method: 'POST', body: new URLSearchParams({ run_id: 'r' }) },
    code: 'unsupported_media_type',
  },
  {
    what: 'a media type that is none',
    path: '/v1/watches',
    init: { method: 'POST', body: '{}', headers: { 'content-type': 'json' } },
    code: 'unsupported_media_type',
  },
  {
    what: 'a body above 1 MiB',
    path: '/v1/watches',
    init: { method: 'POST', body: `"${'x'.repeat(1_048_576)}"`, headers: json },
    code: 'body_too_large',
  },
  {
    what: 'a body that is null',
    path: '/v1/watches',
    init: { method: 'POST', body: 'null', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'a batch of none',
    path: '/v1/watches/batch',
    init: { method: 'POST', body: '{"watches":[]}', headers: json },
    code: 'invalid_request',
  },
  {
    what: 'a batch of 1,001',
    path: '/v1/watches/batch',
    init: {
      method: 'POST',
      body: JSON.stringify({ watches: Array.from({ length: 1_001 }, () => 0) }),
      headers: json,
    },
    code: 'invalid_request',
  },
  {
    what: 'what the service knows to be wrong',
    path: '/v1/watches',
    init: { method: 'POST', body: '{"run_id":"nope"}', headers: json },
    code: 'invalid_request',
  },
];

describe('a refusal', () => {
  it.each(refused)(
    'a refusal of $what is a problem document: $code',
    async ({ path, init, code }) => {
      await expectProblem(await server.fetch(path, init), code);
    },
  );

  it('a refusal names every field that is wrong, and what was expected there', async () => {
    const response = await server.post('/v1/watches', { run_id: '.', timeout: 'x', sauce: 1 });
    const { errors, detail } = await expectProblem(response, 'invalid_request');
    expect(errors?.map(({ path }) => path)).toEqual(['run_id', 'timeout', 'sauce']);
    expect(detail).toMatch(/^run_id: .*and 2 more/);
  });

  it('a refusal of one or several states names those there are', async () => {
    const init = { method: 'POST', body: '{"state":["lost"]}', headers: json };
    const answer = await server.fetch('/v1/deliveries/redeliver', init);
    const detail = expect.stringMatching(/^state: expected one or several of pending, delivered, /);
    expect(await answer.json()).toMatchObject({ detail });
  });

  it('a refusal names the part of the request that a field is in', async () => {
    const query = await expectProblem(await server.fetch('/v1/watches?limit=0'), 'invalid_request');
    expect(query.errors?.[0]?.path).toBe('query.limit');
    const path = await expectProblem(await server.fetch('/v1/watches/a%20b'), 'invalid_request');
    expect(path.errors?.[0]?.path).toBe('path.run_id');
    const init = { headers: { 'last-event-id': 'x'.repeat(1_100) } };
    const header = await server.fetch('/v1/events/stream', init);
    const { errors } = await expectProblem(header, 'invalid_request');
    expect(errors?.[0]?.path).toBe('header.last-event-id');
  });

  it.each(['__proto__', '\\u005f_proto__'])(
    'of metadata named %s says what is wrong',
    async (name) => {
      const body = `{"run_id":"r","metadata":{"${name}":"x"}}`;
      const response = await server.fetch('/v1/watches', { method: 'POST', body, headers: json });
      expect((await expectProblem(response, 'invalid_request')).errors).toEqual([
        { path: 'metadata.__proto__', message: 'no field may have the name __proto__' },
      ]);
    },
  );

  it('a refusal lists at most 20 problems, of one field, of many or of many items', async () => {
    const unknown = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`f${at}`, at]));
    const one = await server.post('/v1/watches', { run_id: 'r', ...unknown });
    expect((await expectProblem(one, 'invalid_request')).errors).toHaveLength(20);
    const watches = Array.from({ length: 100 }, () => ({ run_id: 'r', ...unknown }));
    const many = await server.post('/v1/watches/batch', { watches });
    const { results } = (await many.json()) as { results: { error: { errors: object[] } }[] };
    expect(results.flatMap(({ error }) => error.errors)).toHaveLength(20);
    expect(results.at(-1)?.error).toMatchObject({ detail: expect.stringContaining('unknown') });
  });

  it('a refusal of a method lists in Allow what the path takes', async () => {
    const response = await server.fetch('/v1/watches/r', { method: 'PATCH' });
    expect(response.headers.get('allow')).toBe('DELETE, GET, HEAD');
  });

  it('a run that several sources have is a conflict that names them', async () => {
    const [code, message] = ['several_sources', 'several sources have this run: a, b'];
    server.services.watches.get = () => Promise.reject(new RunwatchError(message, { code }));
    const response = await server.fetch('/v1/watches/r');
    expect((await expectProblem(response, 'several_sources')).detail).toBe(message);
  });

  it('polling an ended watch is a conflict', async () => {
    server.services.store.set('r', aWatch({ runId: 'r', state: 'finished' }));
    const response = await server.fetch('/v1/watches/r/poll', { method: 'POST' });
    await expectProblem(response, 'watch_not_active');
  });

  it('a refusal carries the headers that keep browsers from running it', async () => {
    const { headers } = await server.fetch('/nope');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('content-security-policy')).not.toContain('upgrade-insecure-requests');
    expect(headers.get('strict-transport-security')).toBeNull();
  });

  it.each([
    ['what is not HTTP', 'hello\r\n\r\n', 400, 'bad_request'],
    [
      'headers above 16 KiB',
      rawRequest('GET /livez', { host: 'localhost', 'x-a': 'a'.repeat(17_000) }),
      431,
      'headers_too_large',
    ],
  ])('a refusal of %s is a problem document, too', async (_what, bytes, status, code) => {
    const answer = await sendRaw(server.url, bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
    expect(JSON.parse(body)).toMatchObject({ status, code, type: `/problems/${code}` });
  });
});

describe('an empty body', () => {
  it.each([
    ['/v1/endpoints/nobody/pause', 'application/x-www-form-urlencoded', 404],
    ['/v1/endpoints/nobody/pause', 'text/plain', 404],
    ['/v1/endpoints/nobody/rotate', 'application/x-www-form-urlencoded', 404],
    ['/v1/watches', 'application/x-www-form-urlencoded', 400],
  ])('an empty body posted to %s as %s counts as none', async (path, type, status) => {
    for (const length of [
      'content-length: 0\r\n\r\n',
      'transfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ]) {
      const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n`;
      const answer = await sendRaw(server.url, `${head}content-type: ${type}\r\n${length}`);
      expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    }
  });
});

describe('a fault inside', () => {
  it('an internal error is answered without details and logged once, with them', async () => {
    server.services.watches.get = async () => {
      throw new Error('key runwatch:{default}:secret is broken');
    };
    const response = await server.fetch('/v1/watches/r?source=private-source');
    const { detail } = await expectProblem(response, 'internal');
    expect(detail).not.toContain('secret');
    expect(server.lines).toEqual([
      {
        level: 'error',
        message: 'http request',
        fields: expect.objectContaining({
          method: 'GET',
          route: '/v1/watches/:run_id',
          status: 500,
          err: expect.objectContaining({ message: expect.stringContaining('is broken') }),
        }),
      },
    ]);
    expect(JSON.stringify(server.lines)).not.toContain('private-source');
  });

  it('an internal error code that is not for users is not answered', async () => {
    server.services.watches.get = async () => {
      throw new RunwatchError('script sha1:abc is missing', { code: 'script_missing' });
    };
    const { detail } = await expectProblem(await server.fetch('/v1/watches/r'), 'internal');
    expect(detail).not.toContain('sha1');
  });

  it('an answer while Redis is away asks to try again, and fills no log', async () => {
    server.services.watches.get = async () => {
      const message = 'connect ECONNREFUSED redis://:hunter2@db';
      throw new RunwatchError(message, { code: 'redis_unavailable', retriable: true });
    };
    const responses = await Promise.all(
      Array.from({ length: 20 }, () => server.fetch('/v1/watches/r')),
    );
    for (const response of responses) {
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      const { detail } = await expectProblem(response, 'redis_unavailable');
      expect(detail).not.toContain('hunter2');
    }
    expect(server.lines.length).toBeGreaterThan(0);
    expect(server.lines.length).toBeLessThan(responses.length);
  });
});

describe('whatever JSON is sent', () => {
  const paths = [
    '/v1/watches',
    '/v1/watches/batch',
    '/v1/deliveries/redeliver',
    '/v1/endpoints/ops/rotate',
  ];
  const range = fc.record(
    {
      endpoint: fc.oneof(fc.jsonValue(), fc.webUrl()),
      state: fc.jsonValue(),
      since: fc.oneof(fc.jsonValue(), fc.date({ noInvalidDate: true })),
      until: fc.oneof(fc.jsonValue(), fc.date({ noInvalidDate: true })),
      overlap: fc.oneof(
        fc.jsonValue(),
        fc.nat().map((n) => `${n}h`),
      ),
    },
    { requiredKeys: [] },
  );
  const item = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        run_id: fc.jsonValue(),
        source: fc.jsonValue(),
        endpoints: fc.oneof(fc.jsonValue(), fc.array(fc.string())),
        webhook: fc.oneof(
          fc.jsonValue(),
          fc.record({ url: fc.webUrl(), headers: fc.jsonValue(), events: fc.jsonValue() }),
        ),
        metadata: fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.string())),
        timeout: fc.jsonValue(),
        max_delay: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
  );
  const body = fc.oneof(
    item,
    range,
    fc.record({ watches: fc.oneof(fc.array(item), fc.jsonValue()) }),
  );

  it('any JSON is answered as the API describes, and never by 500', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), body, async (path, value) => {
        const response = await server.post(path, value);
        if (response.ok) {
          expect([200, 201, 202]).toContain(response.status);
          return;
        }
        const { code } = (await response.clone().json()) as { code: ProblemCode };
        await expectProblem(response, code);
        expect([400, 404, 422]).toContain(response.status);
      }),
      { numRuns: 300 },
    );
  });
});
