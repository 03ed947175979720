import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { isWorthRetrying, outcomeOf } from '../../src/noxus/answer.ts';
import type { Reply } from '../../src/noxus/reply.ts';

const NOW = Date.parse('2025-03-01T10:00:00Z');
const API_KEY = 'nx-canary-of-the-api-key';
const QUESTION = { runId: 'Run-1', apiKey: API_KEY, now: NOW };
const RUN = {
  id: 'run-1',
  group_id: 'g',
  workflow_id: 'w',
  status: 'completed',
  created_at: '2025-03-01T09:00:00Z',
};

function answer(status: number, body: unknown, headers: IncomingHttpHeaders = {}): Reply {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return { kind: 'answer', status, headers, body: Buffer.from(text) };
}

function broken(status: number | null, transient: boolean, headers = {}): Reply {
  const failure = { reason: 'network', message: 'the line went dead', transient } as const;
  return { kind: 'broken', status, headers: status === null ? null : headers, failure };
}

const judge = (reply: Reply) => outcomeOf(reply, QUESTION);

function rejected(body: unknown): string {
  const outcome = judge(answer(422, body));
  if (outcome.kind !== 'rejected') throw new Error(`expected rejected, got ${outcome.kind}`);
  return outcome.message;
}

describe('a 200', () => {
  test('with a run is that run, whatever the case of its id', () => {
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
      'missing fields',
      { id: 'run-1', group_id: 'canary', workflow_id: 5 },
      {},
      'not a run: workflow_id: expected a string; status: expected a string; created_at: expected',
    ],
    ['a bad time', { ...RUN, created_at: 'canary' }, {}, 'not a run: created_at: expected an ISO'],
    [
      'another run',
      { ...RUN, id: 'canary' },
      {},
      'id: another run than the one that was asked for',
    ],
    ['a compressed body', RUN, { 'content-encoding': 'gzip' }, 'the body is compressed'],
  ])('with %s is an invalid response that says so and quotes nothing', (_, body, headers, says) => {
    const outcome = judge(answer(200, body, headers));
    expect(outcome).toEqual({
      kind: 'invalid_response',
      message: expect.stringContaining(says),
    });
    expect(JSON.stringify(outcome)).not.toContain('canary');
  });

  test('with any bytes at all is either a run with the id that was asked for or invalid', () => {
    const bodies = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc.jsonValue().map((id) => Buffer.from(JSON.stringify({ ...RUN, id }))),
    );
    fc.assert(
      fc.property(bodies, (body) => {
        const outcome = judge({ kind: 'answer', status: 200, headers: {}, body });
        expect(['run', 'invalid_response']).toContain(outcome.kind);
        if (outcome.kind === 'run') expect(outcome.run.id.toLowerCase()).toBe('run-1');
      }),
    );
  });

  test('that broke off is unavailable, and one that is too large an invalid response', () => {
    expect(judge(broken(200, true))).toEqual({
      kind: 'unavailable',
      message: 'the line went dead',
    });
    const failure = { reason: 'too_large', message: 'too large', transient: false } as const;
    expect(judge({ kind: 'broken', status: 200, headers: {}, failure })).toEqual({
      kind: 'invalid_response',
      message: 'too large',
    });
  });
});

describe('another status', () => {
  test.each([
    [404, {}, { kind: 'not_found' }],
    [401, {}, { kind: 'unauthorized', status: 401 }],
    [403, {}, { kind: 'unauthorized', status: 403 }],
    [429, {}, { kind: 'rate_limited', status: 429, retryAfterMs: null }],
    [429, { 'retry-after': '7' }, { kind: 'rate_limited', retryAfterMs: 7_000 }],
    [
      429,
      { 'retry-after': 'Sat, 01 Mar 2025 10:01:00 GMT' },
      { kind: 'rate_limited', retryAfterMs: 60_000, message: 'status 429, asks for 60 s' },
    ],
    [429, { 'retry-after': 'soon' }, { kind: 'rate_limited', retryAfterMs: null }],
    [503, { 'retry-after': '7' }, { kind: 'rate_limited', status: 503, retryAfterMs: 7_000 }],
    [503, {}, { kind: 'unavailable', message: 'status 503' }],
    [500, {}, { kind: 'unavailable', message: 'status 500' }],
    [502, { 'retry-after': '7' }, { kind: 'unavailable', message: 'status 502' }],
    [204, {}, { kind: 'unavailable', message: 'status 204' }],
    [400, {}, { kind: 'unavailable', message: 'status 400' }],
  ])('%i with %j speaks for itself, even where its body broke off', (status, headers, expected) => {
    expect(judge(answer(status, '<p>canary</p>', headers))).toMatchObject(expected);
    expect(judge(broken(status, true, headers))).toMatchObject(expected);
  });

  test.each([301, 302, 303, 307, 308])('%i is unavailable and hints at the base URL', (status) => {
    expect(judge(answer(status, '', { location: 'https://canary.example' }))).toEqual({
      kind: 'unavailable',
      message: `status ${status}: redirects are not followed, is the base URL right?`,
    });
  });
});

describe('a 422', () => {
  test('passes on where and what, never the input', () => {
    const detail = [
      { loc: ['path', 'run_id'], msg: 'should be a UUID', type: 'uuid', input: 'canary' },
      { loc: ['query', 0], msg: 'is odd', type: 'odd', ctx: { error: 'canary' } },
    ];
    expect(rejected({ detail })).toBe('path.run_id: should be a UUID; query.0: is odd');
  });

  test.each([
    ['<html>'],
    [{}],
    [{ detail: [] }],
    [{ detail: [{ loc: 1 }] }],
    [{ detail: 'canary' }],
  ])('with %j is rejected without a reason', (body) => {
    expect(rejected(body)).toBe('status 422 without a reason');
  });

  test('passes on no more than 300 characters of at most three complaints', () => {
    const complaint = { loc: ['a'], msg: 'm'.repeat(90) };
    expect(rejected({ detail: Array.from({ length: 9 }, () => complaint) })).toHaveLength(283);
    expect(rejected({ detail: [{ loc: [], msg: 'm'.repeat(5_000) }] })).toHaveLength(300);
  });

  test('passes on no API key that the server repeats', () => {
    const detail = [{ loc: ['header'], msg: `bad\n  key ${API_KEY}` }];
    expect(rejected({ detail })).toBe('header: bad key [redacted]');
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
  ])('after status %i with %j: %p', (status, headers, expected) => {
    expect(isWorthRetrying(answer(status, '', headers))).toBe(expected);
  });

  test('comes after network trouble that is transient, before or in the middle of a 200', () => {
    expect(isWorthRetrying(broken(null, true))).toBe(true);
    expect(isWorthRetrying(broken(200, true))).toBe(true);
    expect(isWorthRetrying(broken(null, false))).toBe(false);
    expect(isWorthRetrying(broken(404, true))).toBe(false);
  });
});
