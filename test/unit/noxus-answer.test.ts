import * as fc from 'fast-check';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { networkFailure, timedOutPhase } from '../../src/fetch/failure.ts';
import { isWorthRetrying } from '../../src/fetch/quick-retry.ts';
import type { Reply } from '../../src/fetch/transport.ts';
import { outcomeOf, RunBody, READ_FIELDS } from '../../src/noxus/run.ts';

const NOW = Date.parse('2025-03-01T10:00:00Z');
const API_KEY = 'nx-canary-of-the-api-key';
const redact = (text: string) => text.replaceAll(API_KEY, '[redacted]');
const QUESTION = { runId: 'Run-1', redact, now: NOW, onUnread: () => undefined };
const RUN = {
  id: 'run-1',
  group_id: 'g',
  workflow_id: 'w',
  status: 'completed',
  created_at: '2025-03-01T09:00:00Z',
};

interface Given {
  reply: Reply;
  body: string | Buffer;
}

function answer(status: number, body: unknown, headers: IncomingHttpHeaders = {}): Given {
  const isRaw = typeof body === 'string' || Buffer.isBuffer(body);
  const reply = { kind: 'answer', status, headers, isCut: false } as const;
  return { reply, body: isRaw ? body : JSON.stringify(body) };
}

function broken(status: number | null, transient: boolean, headers = {}): Given {
  const failure = { message: 'the line went dead', transient };
  const known = status === null ? null : headers;
  return { reply: { kind: 'broken', status, headers: known, failure }, body: '' };
}

function judge({ reply, body }: Given, onUnread: (fields: string[]) => void = () => undefined) {
  const taken = new RunBody(READ_FIELDS);
  taken.take(Buffer.from(body), reply.status ?? 0);
  return outcomeOf(reply, taken, { ...QUESTION, onUnread });
}

const isRetried = ({ reply }: Given) => isWorthRetrying(reply);

const ofRunId = { loc: ['path', 'run_id'], msg: 'Input should be a valid UUID' };

function said(outcome: ReturnType<typeof judge>): string {
  return 'message' in outcome ? outcome.message : outcome.kind;
}

describe('a 200', () => {
  test('a 200 with a run is that run, in whatever case its id is', () => {
    expect(judge(answer(200, RUN))).toMatchObject({
      kind: 'run',
      run: { id: 'run-1', status: 'completed', observed_at: '2025-03-01T10:00:00.000Z' },
    });
  });

  test.each<[string, unknown, IncomingHttpHeaders, string]>([
    ['HTML', '<html>canary</html>', {}, 'the body is HTML, not JSON'],
    ['text', 'canary', { 'content-type': 'text/plain; x=canary' }, 'not JSON but text/plain'],
    ['an odd type', 'canary', { 'content-type': 'canary' }, 'the body is not valid JSON'],
    ['broken JSON', '{canary}', { 'content-type': 'application/json' }, 'is not valid JSON'],
    ['cut JSON', '{"id":"canary","st', {}, 'the JSON is cut off after 18 bytes'],
    ['nothing', '', {}, 'the body is empty'],
    ['an array', ['canary'], {}, 'not a run: expected an object'],
    ['a string', '"canary"', {}, 'not a run: expected an object'],
    ['null', null, {}, 'not a run: expected an object'],
    [
      'neither id nor status',
      { group_id: 'canary', workflow_id: 5 },
      {},
      'not a run: id: expected a string; status: expected a string',
    ],
    [
      'another run',
      { ...RUN, id: 'canary' },
      {},
      'id: another run than the one that was asked for',
    ],
    ['an odd encoding', RUN, { 'content-encoding': 'zip' }, 'encoded in a way that is not known'],
  ])(
    'a 200 with %s is an invalid response with a message that quotes nothing',
    (_, body, headers, says) => {
      const outcome = judge(answer(200, body, headers));
      expect(outcome).toEqual({
        kind: 'invalid_response',
        message: expect.stringContaining(says),
      });
      expect(JSON.stringify(outcome)).not.toContain('canary');
    },
  );

  test('a 200 with any bytes is either a run with the requested id or invalid', () => {
    const bodies = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc.jsonValue().map((id) => Buffer.from(JSON.stringify({ ...RUN, id }))),
    );
    fc.assert(
      fc.property(bodies, (body) => {
        const outcome = judge(answer(200, body));
        expect(['run', 'invalid_response']).toContain(outcome.kind);
        if (outcome.kind === 'run') expect(outcome.run.id.toLowerCase()).toBe('run-1');
      }),
    );
  });

  test('a 200 that broke off is unavailable', () => {
    expect(judge(broken(200, true))).toEqual({
      kind: 'unavailable',
      message: 'the line went dead',
    });
  });

  test('a run needs only id and status; other missing or odd fields are null, and named', () => {
    const unread: string[] = [];
    const body = { id: 'run-1', status: 'running', progress: '40', created_at: 'soon', source: 7 };
    expect(judge(answer(200, body), (fields) => unread.push(...fields))).toMatchObject({
      kind: 'run',
      run: { status: 'running', progress: null, created_at: null, workflow_id: null, source: null },
    });
    expect(unread).toEqual(['workflow_id', 'group_id', 'progress', 'created_at', 'source']);
  });

  test('a 200 may begin with a byte order mark', () => {
    expect(judge(answer(200, `\u{feff}${JSON.stringify(RUN)}`))).toMatchObject({ kind: 'run' });
  });
});

describe('another status', () => {
  test.each([
    [404, {}, { kind: 'unavailable', message: expect.stringContaining('a proxy') }],
    [422, {}, { kind: 'unavailable', message: expect.stringContaining('not about the run id') }],
    [401, {}, { kind: 'unauthorized' }],
    [403, {}, { kind: 'forbidden' }],
    [429, {}, { kind: 'rate_limited', retryAfterMs: null }],
    [429, { 'retry-after': '7' }, { kind: 'rate_limited', retryAfterMs: 7_000 }],
    [
      429,
      { 'retry-after': 'Sat, 01 Mar 2025 10:01:00 GMT' },
      { kind: 'rate_limited', retryAfterMs: 60_000, message: 'status 429, asks for 60 s' },
    ],
    [429, { 'retry-after': 'soon' }, { kind: 'rate_limited', retryAfterMs: null }],
    [503, { 'retry-after': '7' }, { kind: 'rate_limited', retryAfterMs: 7_000 }],
    [503, {}, { kind: 'unavailable', message: 'status 503' }],
    [500, {}, { kind: 'unavailable', message: 'status 500' }],
    [502, { 'retry-after': '7' }, { kind: 'unavailable', message: 'status 502' }],
    [204, {}, { kind: 'unavailable', message: 'status 204' }],
    [400, {}, { kind: 'unavailable', message: 'status 400' }],
  ])(
    'status %i with %j gives its own outcome, even where its body broke off',
    (status, headers, expected) => {
      expect(judge(answer(status, '<p>canary</p>', headers))).toMatchObject(expected);
      expect(judge(broken(status, true, headers))).toMatchObject(expected);
    },
  );

  test.each([
    [{ 'x-request-id': 'req-1' }, 'status 500 (request id req-1)'],
    [{ 'x-noxus-request-id': '7f:2' }, 'status 500 (request id 7f:2)'],
    [{ 'x-request-id': 'two words\u0007' }, 'status 500'],
    [{ 'x-request-id': 'x'.repeat(129) }, 'status 500'],
  ])(
    'an answer with %j is named by its request id, if that is a plain word',
    (headers, message) => {
      expect(judge(answer(500, '', headers))).toEqual({ kind: 'unavailable', message });
    },
  );

  test.each([301, 302, 303, 307, 308])(
    'status %i is unavailable and hints at the base URL',
    (status) => {
      expect(judge(answer(status, '', { location: 'https://canary.example' }))).toEqual({
        kind: 'unavailable',
        message: `status ${status}: redirects are not followed, is the base URL right?`,
      });
    },
  );
});

describe('a 404', () => {
  test("a 404 in Noxus's own format means that the run does not exist", () => {
    expect(judge(answer(404, { detail: 'Run not found' }))).toEqual({ kind: 'not_found' });
  });

  test.each([['<h1>Not Found</h1>'], [''], ['null'], [{ message: 'no route' }], ['"detail"']])(
    "a 404 with %j is not Noxus's own, so it says nothing of the run",
    (body) => {
      expect(judge(answer(404, body))).toMatchObject({ kind: 'unavailable' });
    },
  );
});

describe('a 422', () => {
  test('a 422 about the run id is a rejection that says where and what, never the input', () => {
    const detail = [
      { ...ofRunId, type: 'uuid', input: 'canary' },
      { loc: ['query', 0], msg: 'is odd', type: 'odd', ctx: { error: 'canary' } },
    ];
    expect(judge(answer(422, { detail }))).toEqual({
      kind: 'rejected',
      message: 'path.run_id: Input should be a valid UUID; query.0: is odd',
    });
  });

  test.each([
    ['<html>'],
    [{}],
    [{ detail: [] }],
    [{ detail: [{ loc: 1 }] }],
    [{ detail: 'canary' }],
    [{ detail: [{ loc: ['header', 'x-workspace'], msg: 'Field required' }] }],
  ])('a 422 with %j is not about the run, so it is a failure', (body) => {
    const outcome = judge(answer(422, body));
    expect(outcome).toMatchObject({ kind: 'unavailable' });
    expect(said(outcome)).not.toContain('canary');
  });

  test('a 422 passes on at most 300 characters of at most three complaints', () => {
    const complaint = { loc: ['path', 'run_id'], msg: 'm'.repeat(90) };
    const many = judge(answer(422, { detail: Array.from({ length: 9 }, () => complaint) }));
    expect(said(many).split('; ')).toHaveLength(3);
    const long = { loc: ['path', 'run_id'], msg: 'm'.repeat(5_000) };
    expect(said(judge(answer(422, { detail: [long] })))).toHaveLength(300);
  });

  test('a 422 passes on no API key that the server repeats', () => {
    const detail = [{ loc: ['header'], msg: `bad\n  key ${API_KEY}` }];
    expect(said(judge(answer(422, { detail })))).toMatch(/header: bad key \[redacted\]$/);
  });
});

describe('a quick retry', () => {
  test.each([
    [502, {}, true],
    [503, {}, true],
    [504, {}, true],
    [503, { 'retry-after': '1' }, false],
    [200, {}, false],
    [404, {}, false],
    [422, {}, false],
    [401, {}, false],
    [429, {}, false],
    [500, {}, false],
    [302, {}, false],
  ])('a quick retry after status %i with %j: %p', (status, headers, expected) => {
    expect(isRetried(answer(status, '', headers))).toBe(expected);
  });

  test('a quick retry follows transient network errors, before or during a 200', () => {
    expect(isRetried(broken(null, true))).toBe(true);
    expect(isRetried(broken(200, true))).toBe(true);
    expect(isRetried(broken(null, false))).toBe(false);
    expect(isRetried(broken(404, true))).toBe(false);
  });
});

const HTTPS = new URL('https://noxus.example/prefix/');
const HTTP = new URL('http://noxus.example:8080/');

describe('a network failure', () => {
  test.each([
    ['ENOTFOUND', 'noxus.example is not a host that the name servers know (ENOTFOUND)', false],
    ['EAI_AGAIN', 'noxus.example cannot be looked up: no name server answers (EAI_AGAIN)', true],
    ['ECONNREFUSED', 'noxus.example refuses connections (ECONNREFUSED)', true],
    ['ECONNRESET', 'noxus.example closed the connection before it answered (ECONNRESET)', true],
    ['EPIPE', 'noxus.example closed the connection before it answered (EPIPE)', true],
    ['ETIMEDOUT', 'noxus.example does not take connections: connecting timed out', false],
    ['EHOSTUNREACH', 'noxus.example cannot be reached: no route to it (EHOSTUNREACH)', true],
    ['CERT_HAS_EXPIRED', 'the certificate of noxus.example is not accepted: it has expired', false],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'not accepted: it is self-signed', false],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'not accepted: its authority is not trusted here', false],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'not accepted: its issuer is unknown here', false],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'not accepted: it is for another host name', false],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'no secure connection to noxus.example: TLS failed', false],
    ['EPROTO', 'no secure connection to noxus.example: TLS failed (EPROTO)', false],
    ['HPE_INVALID_CONSTANT', 'what noxus.example sends is not HTTP (HPE_INVALID_CONSTANT)', false],
    ['HPE_HEADER_OVERFLOW', 'noxus.example sends response headers that are too large', false],
    ['EMFILE', 'the request to noxus.example failed (EMFILE)', false],
    ['a code with x-api-key: canary', 'the request to noxus.example failed (unknown error)', false],
  ])('the network error %s has a readable message', (code, says, transient) => {
    const failure = networkFailure({ code }, HTTPS);
    expect(failure).toEqual({
      message: expect.stringContaining(says),
      transient,
    });
  });

  test('a network failure during an answer is reported as such', () => {
    expect(networkFailure({ code: 'ECONNRESET', response: {} }, HTTP).message).toBe(
      'noxus.example:8080 closed the connection in the middle of its answer (ECONNRESET)',
    );
  });
});

describe('phase of a timeout', () => {
  test.each([
    [undefined, HTTPS, 'waiting for a free connection'],
    [{}, HTTPS, 'waiting for a free connection'],
    [{ socket: 1 }, HTTPS, 'looking up the host name'],
    [{ socket: 1 }, new URL('http://127.0.0.1/'), 'connecting'],
    [{ socket: 1 }, new URL('http://[::1]:80/'), 'connecting'],
    [{ socket: 1, lookup: 2 }, HTTPS, 'connecting'],
    [{ socket: 1, lookup: 2, connect: 3 }, HTTPS, 'in the TLS handshake'],
    [{ socket: 1, lookup: 2, connect: 3 }, HTTP, 'waiting for the answer'],
    [{ socket: 1, lookup: 2, connect: 3, secureConnect: 4 }, HTTPS, 'waiting for the answer'],
    [{ socket: 1, lookup: 2, connect: 3, response: 5 }, HTTP, 'reading the body of the answer'],
  ])(
    "the phase of a timeout follows from the request's progress: %j to %s",
    (progress, url, phase) => {
      expect(timedOutPhase(progress, url)).toBe(phase);
    },
  );
});
