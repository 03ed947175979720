import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { watchQuery, watchRequest } from '../../src/http/schemas/watch.ts';
import { parse } from '../../src/http/errors.ts';
import { toWatchRequest } from '../../src/http/watches.ts';
import { anyText } from '../support/any-text.ts';

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;

function issuesOf(body: unknown) {
  const parsed = parse(watchRequest, body);
  return parsed.ok ? [] : parsed.issues;
}

function withWebhook(webhook: object) {
  return { run_id: 'r', webhook: { url: 'https://example.com/', ...webhook } };
}

describe('a request to watch a run', () => {
  it('a watch request is converted to internal names, with durations in milliseconds', () => {
    const parsed = parse(watchRequest, {
      run_id: 'r-1',
      source: 'default',
      endpoints: ['ops', 'audit', 'ops'],
      webhook: { url: 'https://example.com/hook', secret: SECRET, events: ['run.*'] },
      metadata: { order: '1' },
      timeout: '2h',
      profile: 'urgent',
      max_delay: '10s',
    });
    expect(parsed.ok && toWatchRequest(parsed.value)).toEqual({
      runId: 'r-1',
      source: 'default',
      endpoints: ['ops', 'audit'],
      webhook: { url: 'https://example.com/hook', secret: SECRET, events: ['run.*'] },
      metadata: { order: '1' },
      timeoutMs: 7_200_000,
      profile: 'urgent',
      maxDelayMs: 10_000,
    });
  });

  it('a converted watch request omits what the user omitted', () => {
    const parsed = parse(watchRequest, { run_id: 'r-1' });
    expect(parsed.ok && Object.keys(toWatchRequest(parsed.value))).toEqual(['runId']);
  });

  it.each([
    ['a body that is no object', [], '', /expected an object/],
    ['a missing run id', {}, 'run_id', /required/],
    ['a run id of another type', { run_id: 7 }, 'run_id', /expected a string/],
    ['a run id with an empty part', { run_id: 'a//b' }, 'run_id', /no part between slashes empty/],
    ['a run id of 256 characters', { run_id: 'a'.repeat(256) }, 'run_id', /1 to 255 printable/],
    ['a null', { run_id: 'r', source: null }, 'source', /expected a string/],
    ['an unknown field', { run_id: 'r', sauce: 'x' }, 'sauce', /unknown field/],
    ['an endpoint that is no name', { run_id: 'r', endpoints: ['a b'] }, 'endpoints.0', /name/],
    ['a profile that is not there', { run_id: 'r', profile: 'fast' }, 'profile', /urgent, normal/],
    ['no duration', { run_id: 'r', timeout: 'soon' }, 'timeout', /a duration such as/],
    ['a duration as a number', { run_id: 'r', timeout: 5 }, 'timeout', /a duration such as/],
    ['a timeout below 1s', { run_id: 'r', timeout: '999ms' }, 'timeout', /from 1s to 365d/],
    ['a timeout above a year', { run_id: 'r', timeout: '366d' }, 'timeout', /from 1s to 365d/],
    ['a delay above a day', { run_id: 'r', max_delay: '25h' }, 'max_delay', /from 1s to 1d/],
    ['metadata of another type', { run_id: 'r', metadata: { a: 1 } }, 'metadata.a', /a string/],
    [
      'metadata of 33 strings',
      { run_id: 'r', metadata: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, ''])) },
      'metadata',
      /at most 32/,
    ],
    [
      'metadata above 4 KiB, in bytes',
      { run_id: 'r', metadata: { ä: 'ä'.repeat(2_048) } },
      'metadata',
      /at most 4 KiB/,
    ],
    ['a file URL', withWebhook({ url: 'file:///etc/passwd' }), 'webhook.url', /http/],
    ['a URL with a password', withWebhook({ url: 'http://a:b@c/' }), 'webhook.url', /password/],
    ['a URL with a line break', withWebhook({ url: 'http://a/\n' }), 'webhook.url', /http/],
    ['no URL', { run_id: 'r', webhook: {} }, 'webhook.url', /required/],
    [
      'a URL of 2,049 characters',
      withWebhook({ url: `http://a/${'a'.repeat(2_040)}` }),
      'webhook.url',
      /2048/,
    ],
    ['a short secret', withWebhook({ secret: 'whsec_AAAA' }), 'webhook.secret', /24 to 64 bytes/],
    ['a misspelt event', withWebhook({ events: ['run.faild'] }), 'webhook.events.0', /event type/],
    ['no events', withWebhook({ events: [] }), 'webhook.events', /at least one/],
    ['a header name', withWebhook({ headers: { 'a b': '' } }), 'webhook.headers.a b', /name/],
    ['a reserved header', withWebhook({ headers: { Host: 'x' } }), 'webhook.headers.Host', /set/],
    [
      'a signature of its own',
      withWebhook({ headers: { 'Webhook-Signature': 'x' } }),
      'webhook.headers.Webhook-Signature',
      /set/,
    ],
    [
      'a header value with a line break',
      withWebhook({ headers: { 'x-a': 'a\r\nb: c' } }),
      'webhook.headers.x-a',
      /printable/,
    ],
    [
      'one header in two cases',
      withWebhook({ headers: { 'x-a': '1', 'X-A': '2' } }),
      'webhook.headers',
      /once/,
    ],
    [
      '21 headers',
      withWebhook({
        headers: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`x-${i}`, ''])),
      }),
      'webhook.headers',
      /at most 20/,
    ],
  ])('a watch request is refused for %s', (_what, body, path, message) => {
    expect(issuesOf(body)).toContainEqual({ path, message: expect.stringMatching(message) });
  });

  it('a refusal of a watch request never repeats a secret', () => {
    const given = 'whsec_not-a-secret-but-private';
    const body = withWebhook({ secret: given, headers: { authorization: `${given}\n` } });
    expect(JSON.stringify(issuesOf(body))).not.toContain(given);
  });

  it('thousands of wrong values get a bounded list of errors', () => {
    const metadata = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [i, i]));
    expect(issuesOf({ run_id: 'r', metadata })).toHaveLength(20);
  });

  it('a body full of unknown fields gets a bounded list of errors', () => {
    const fields = Array.from({ length: 10_000 }, (_, i) => [`${'x'.repeat(300)}${i}`, 1]);
    const issues = issuesOf({ run_id: 'r', ...Object.fromEntries(fields) });
    expect(issues).toHaveLength(20);
    expect(Math.max(...issues.map(({ path }) => path.length))).toBeLessThanOrEqual(200);
  });

  it("a watch request accepts a run id exactly if it has the contract's form", () => {
    const ofContract = (text: string) =>
      /^[\x21-\x7e]{1,255}$/.test(text) &&
      !/%(2f|5c)/i.test(text) &&
      text.split('/').every((part) => !['', '.', '..'].includes(part));
    const printable = fc.stringMatching(/^[\x21-\x7e]{1,255}$/);
    const parts = fc.array(fc.constantFrom('', '.', '..', '...', 'a', '%2F', '%5c', '%2e', '~'));
    const texts = fc.oneof(
      printable,
      parts.map((some) => some.join('/')),
      anyText({ maxLength: 260 }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(issuesOf({ run_id: text }).length === 0).toBe(ofContract(text));
      }),
    );
  });
});

describe('a query for watches', () => {
  it('a query for watches without a limit asks for 50', () => {
    const parsed = parse(watchQuery, {});
    expect(parsed.ok && parsed.value).toEqual({ limit: 50 });
  });

  it.each(['0', '201', '1.5', 'many', '', '-1'])(
    'a query for watches refuses a limit of "%s"',
    (limit) => {
      const parsed = parse(watchQuery, { limit }, 'query');
      expect(parsed.ok ? [] : parsed.issues).toEqual([
        { path: 'query.limit', message: 'expected a whole number from 1 to 200' },
      ]);
    },
  );
});
