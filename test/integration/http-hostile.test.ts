import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startServer, type TestServer } from '../support/http-server.ts';
import { sendRaw } from '../support/raw-http.ts';

const HARMFUL = /[\p{Cc}\p{Zl}\p{Zp}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{e0000}-\u{e007f}]/u;

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});
beforeEach(() => {
  server.lines.length = 0;
  server.services.calls.registered.length = 0;
});
afterAll(() => server.close());

function request(line: string, headers: Record<string, string>, body = ''): string {
  const length = body === '' ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const all = { host: 'localhost', ...length, ...headers, connection: 'close' };
  const fields = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${fields.join('')}\r\n${body}`;
}

const json = { 'content-type': 'application/json' };

function register(body: object | string, headers: Record<string, string> = {}): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return request('POST /v1/watches', { ...json, ...headers }, text);
}

function webhook(given: object): string {
  return register({ run_id: 'r', webhook: { url: 'https://example.com/', ...given } });
}

const chunked = { 'transfer-encoding': 'chunked' };
const nested = '{"a":'.repeat(5_000) + '1' + '}'.repeat(5_000);
const lists = '['.repeat(200_000) + ']'.repeat(200_000);
const foreign = { origin: 'https://evil.example' };

const HOSTILE: [what: string, bytes: string, status: number][] = [
  ['metadata of the name __proto__', register('{"run_id":"r","metadata":{"__proto__":"x"}}'), 422],
  ['a field of the name __proto__', register('{"run_id":"r","__proto__":{"source":"x"}}'), 422],
  [
    'a field of the name constructor',
    register('{"run_id":"r","constructor":{"prototype":1}}'),
    422,
  ],
  ['control characters in a run id', register({ run_id: 'a\r\nset-cookie: x' }), 422],
  ['control characters in a query', request('GET /v1/watches?status=%1b%5b2J%0d%0ax', {}), 422],
  ['control characters in a path', request('GET /v1/watches/a%00b', {}), 422],
  ['a webhook with credentials', webhook({ url: 'https://u:p@example.com/' }), 422],
  ['a webhook that is a script', webhook({ url: 'javascript:alert(1)' }), 422],
  ['a webhook with a space and a second line', webhook({ url: 'https://e.example/ x\r\ny' }), 422],
  ['a header that is two', webhook({ headers: { 'x-a': 'b\r\nx-c: d' } }), 422],
  ['a header that belongs to the request', webhook({ headers: { 'Content-Length': '0' } }), 422],
  ['a header whose name is two', webhook({ headers: { 'x-a: b\r\nx-c': 'd' } }), 422],
  ['a host name that was rebound', request('GET /v1/watches', { host: 'evil.example' }), 403],
  ['a page that posts from elsewhere', register({ run_id: 'r' }, foreign), 403],
  [
    'a form that needs no preflight',
    register('{}', { ...foreign, 'content-type': 'text/plain' }),
    403,
  ],
  ['a sandboxed page', register({ run_id: 'r' }, { origin: 'null' }), 403],
  ['two hosts', request('GET /livez', { host: 'localhost\r\nHost: evil.example' }), 400],
  ['two lengths', register('{}', { 'Content-Length': '2', 'content-length': '3' }), 400],
  ['a length beside chunks', register('{}', chunked), 400],
  ['a folded header', request('GET /livez', { 'x-a': 'b\r\n c' }), 400],
  ['a header with a bare line feed', request('GET /livez', { 'x-a': 'b\nx-c: d' }), 400],
  ['a path that climbs', request('GET /v1/../../etc/passwd', {}), 404],
  ['a path that climbs in code', request('GET /docs/static/..%2f..%2f..%2fpackage.json', {}), 404],
  ['a target of 20 KiB', request(`GET /v1/watches?status=${'a'.repeat(20_000)}`, {}), 431],
  ['JSON that is nested 5,000 deep', register(nested), 422],
  [
    'a batch with a key and a list that is nested 200,000 deep',
    request(
      'POST /v1/watches/batch',
      { ...json, 'idempotency-key': 'k' },
      `{"watches":[${lists}]}`,
    ),
    422,
  ],
  ['a body that is compressed', register('{"run_id":"r"}', { 'content-encoding': 'gzip' }), 415],
  [
    'chunks without an end',
    `${request('POST /v1/watches', { ...json, ...chunked })}200001\r\n${'x'.repeat(2_097_153)}`,
    413,
  ],
  ['a method of its own', request('BREW /v1/watches', {}), 400],
  ['an upgrade', request('GET /v1/watches', { upgrade: 'h2c', 'http2-settings': '' }), 200],
];

describe('hostile requests', () => {
  it.each(HOSTILE)(
    'a hostile request gets the refusal for it: %s',
    async (_what, bytes, status) => {
      const answer = await sendRaw(server.url, bytes);
      expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      if (status >= 400) expect(answer).toMatch(/content-type: application\/problem\+json/i);
      expect(answer).not.toMatch(/set-cookie|root:|"scripts"/);
      expect(server.services.calls.registered).toEqual([]);
      expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
      expect((await server.fetch('/livez')).status).toBe(200);
    },
  );

  it('line feeds and markup in metadata are kept, and steer no log and no answer', async () => {
    const metadata = { note: 'first\nsecond', team: '<!channel> <script>' };
    const response = await server.post('/v1/watches', { run_id: 'r', metadata });
    expect(response.status).toBe(201);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ metadata });
    expect(text).not.toMatch(HARMFUL);
    expect(JSON.stringify(server.lines)).not.toMatch(HARMFUL);
  });

  it.each([
    ['an escape', 'a\u001b[2J'],
    ['a second line', 'a\r\nb'],
    ['text that runs backwards', 'a\u202eb'],
    ['a line separator', 'a\u2028b'],
    ['tag characters', 'ana\u{e0041}\u{e0042}'],
    ['half of a surrogate pair', 'a\ud800'],
  ])(
    'texts that callers give with %s are 422, and neither answer nor log has it',
    async (_, text) => {
      const watch = { run_id: 'r', metadata: { team: text, [text]: 'x' } };
      const given: [path: string, body: object, fields: string[]][] = [
        ['/v1/watches', watch, ['metadata.team', expect.stringMatching(/^metadata\.a/) as never]],
        ['/v1/watches/run-1/acknowledge', { by: text, comment: text }, ['by', 'comment']],
        ['/v1/alerts/alr_1/acknowledge', { by: text, comment: text }, ['by', 'comment']],
        [
          '/v1/silences',
          { matchers: { rule: [text] }, until: '1h', by: text, comment: text, key: text },
          ['matchers.rule.0', 'by', 'comment', 'key'],
        ],
      ];
      for (const [path, body, fields] of given) {
        const response = await server.post(path, body);
        expect([path, response.status]).toEqual([path, 422]);
        const answer = await response.text();
        expect(answer).not.toMatch(HARMFUL);
        const { errors } = JSON.parse(answer) as { errors: { path: string; message: string }[] };
        expect(errors.map((one) => one.path)).toEqual(fields);
        for (const { message } of errors) expect(message).toContain('expected well-formed text');
      }
      expect(server.services.calls.registered).toEqual([]);
      expect(JSON.stringify(server.lines)).not.toMatch(HARMFUL);
    },
  );
});
