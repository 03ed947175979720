import * as fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { networkError, statusError, timeoutError } from '../../src/deliver/http-attempt.ts';
import { Deadline } from '../../src/deadline.ts';
import { responseText } from '../../src/deliver/http-post.ts';
import { customHeaders, headerProblem } from '../../src/deliver/channels/webhook.ts';
import { BODY_KINDS } from '../../src/deliver/channels/bodies.ts';
import type { Message } from '../../src/deliver/channels/channel.ts';
import {
  createSigner,
  deriveEndpointSecret,
  deriveWebhookSecret,
  generateSecret,
} from '../../src/deliver/secrets/sign.ts';

const failing = (code: string) => Object.assign(new Error('secret'), { code });

describe('network errors for people', () => {
  test.each([
    ['ENOTFOUND', 'dns', /h did not resolve \(ENOTFOUND\)/],
    ['EAI_AGAIN', 'dns', /EAI_AGAIN/],
    ['ECONNREFUSED', 'refused', /refused the connection/],
    ['ECONNRESET', 'reset', /closed the connection while in the TLS handshake/],
    ['EPIPE', 'reset', /closed the connection/],
    ['EHOSTUNREACH', 'unreachable', /no route/],
    ['ENETUNREACH', 'unreachable', /no route/],
    ['ETIMEDOUT', 'timeout', /connect/],
    ['CERT_HAS_EXPIRED', 'tls', /has expired/],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls', /another host name/],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls', /self-signed/],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'tls', /not trusted/],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'tls', /does not speak TLS/],
    ['ERR_SSL_NO_SUITABLE_KEY_SHARE', 'tls', /handshake failed \(ERR_SSL_NO_SUITABLE_KEY_SHARE\)/],
    ['EPROTO', 'tls', /does not speak TLS/],
    ['HPE_HEADER_OVERFLOW', 'too_large', /16 KiB/],
    ['HPE_INVALID_CONSTANT', 'protocol', /not a plain HTTP/],
    ['EMFILE', 'network', /EMFILE/],
  ])('network error %s is of class %s', (code, expected, message) => {
    const error = networkError(failing(code), 'h', 'tls');
    expect(error.code).toBe(expected);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('secret');
  });

  test.each([
    [40, /for want of a client certificate/],
    [48, /does not trust our client certificate/],
    [70, /no version of TLS/],
    [99, /does not speak TLS/],
  ])('TLS alert %i of a receiver says which check failed', (alert, message) => {
    const text = `write EPROTO 00:error:0A000410:SSL routines::alert:SSL alert number ${alert}`;
    const error = networkError(Object.assign(new Error(text), { code: 'EPROTO' }), 'h', 'tls');
    expect(error.code).toBe('tls');
    expect(error.message).toMatch(message);
  });

  test("a network error's code counts whatever its JavaScript class is", () => {
    const error = networkError({ code: 'EPROTO', message: 'write EPROTO' }, 'h', 'tls');
    expect(error.code).toBe('tls');
  });

  test('an error without a code is of class network', () => {
    expect(networkError('odd', 'h', 'queue')).toEqual({
      code: 'network',
      message: 'the request to h failed (unknown)',
    });
  });

  test.each(['queue', 'dns', 'connect', 'tls', 'headers'] as const)(
    'a timeout error names the phase %s',
    (phase) => {
      expect(timeoutError(15_000, phase)).toEqual({
        code: 'timeout',
        message: expect.stringMatching(new RegExp(`^no answer within 15s: .*\\(${phase}\\)$`)),
      });
    },
  );

  test('a redirect error names the origin only', () => {
    expect(statusError(302, 'https://login.example.com/?token=canary').message).toBe(
      'answered 302 Found, pointing to https://login.example.com; redirects are not followed',
    );
    expect(statusError(308, '/relative').message).toMatch(/^answered 308 Permanent Redirect; /);
    expect(statusError(599, undefined)).toEqual({ code: 'status', message: 'answered 599' });
  });
});

function isControl(code: number): boolean {
  return code !== 9 && code !== 10 && (code < 32 || (code >= 127 && code < 160));
}

describe('text of an answer', () => {
  test('response text holds no control character but tab and line feed, and no mark that reorders text', () => {
    expect(responseText(Buffer.from('a\r\nb\tc\u001b[2J\u0000\u009b\u202ed'))).toBe(
      'a\nb\tc\ufffd[2J\ufffd\ufffd\ufffdd',
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
        const codes = Array.from(responseText(bytes), (character) => character.codePointAt(0) ?? 0);
        expect(codes.filter(isControl)).toEqual([]);
      }),
    );
  });

  test('response text repeats no sent credential, whole, without its scheme, or cut off', () => {
    const sent = ['Bearer canary-0123456789', 'blue'];
    const text = (answer: string) => responseText(Buffer.from(answer), sent);
    expect(text('you sent Bearer canary-0123456789, and blue')).toBe(
      'you sent [redacted], and blue',
    );
    expect(text('{"token":"canary-0123456789"}')).toBe('{"token":"[redacted]"}');
    const long = `${'x'.repeat(1_024 - 18)}Bearer canary-0123456789`;
    expect(text(long)).toBe(`${'x'.repeat(1_024 - 18)}[redacted]`);
  });

  test('response text is cut at 1 KiB without half a character at the end', () => {
    const text = responseText(Buffer.from('é🚀'.repeat(500)));
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(1_024);
    expect(text).not.toContain('\ufffd');
  });
});

describe('custom headers', () => {
  test.each([
    'Webhook-Signature',
    'webhook-id',
    'Host',
    'Content-Length',
    'content-type',
    'Transfer-Encoding',
    'Connection',
    'TE',
    'Upgrade',
    'Expect',
    'User-Agent',
    'Proxy-Authorization',
  ])('the custom header %s is reserved', (name) => {
    expect(headerProblem(name, 'x')).toMatch(/reserved/);
    expect(() => customHeaders({ [name]: 'x' })).toThrow(
      expect.objectContaining({ code: 'invalid_header' }),
    );
  });

  test("a custom header's value that would begin another header is refused without repeating it", () => {
    expect(headerProblem('x-a', 'canary\r\nx-b: 1')).toMatch(/^the header x-a has a value/);
    expect(headerProblem('x a', '1')).toMatch(/Header name/);
  });

  test('other custom headers pass, in lower case', () => {
    expect(customHeaders({ Authorization: 'Bearer t', 'X-Team': 'a' })).toEqual({
      authorization: 'Bearer t',
      'x-team': 'a',
    });
  });
});

describe('deadline', () => {
  test('a deadline fires at once when the outer signal has fired already', () => {
    const deadline = new Deadline(60_000, AbortSignal.abort());
    expect(deadline.signal.aborted).toBe(true);
    deadline.release();
  });

  test('a deadline follows the outer signal until it is released', () => {
    const outer = new AbortController();
    const [kept, released] = [
      new Deadline(60_000, outer.signal),
      new Deadline(60_000, outer.signal),
    ];
    released.release();
    outer.abort();
    kept.release();
    expect([kept.signal.aborted, released.signal.aborted]).toEqual([true, false]);
  });
});

const FAILED = {
  id: 'evt_1',
  type: 'run.failed',
  timestamp: '2026-01-01T12:02:05.500Z',
  data: {
    run_id: 'run-1',
    run: {
      id: 'run-1',
      workflow_id: 'workflow-1',
      group_id: 'group-1',
      workflow_version_id: null,
      status: 'failed',
      progress: 40,
      created_at: '2026-01-01T11:59:59.000Z',
      started_at: '2026-01-01T12:00:00.000Z',
      finished_at: '2026-01-01T12:02:05.500Z',
      source: null,
      user_id: null,
      conversation_id: null,
      observed_at: '2026-01-01T12:02:06.000Z',
    },
    previous: { status: 'running', progress: 40 },
    sequence: 3,
    detected_at: '2026-01-01T12:02:06.000Z',
    detection_delay_ms: 500,
    watch: {
      source: 'default',
      metadata: { team: 'R&D', note: '<!channel> 🚀' },
      registered_at: '2026-01-01T11:59:59.500Z',
    },
  },
};

/** A system event: its data have a shape of their own. */
const ALERT = {
  id: 'evt_2',
  type: 'endpoint.failing',
  timestamp: '2026-01-01T12:00:00.000Z',
  data: { endpoint: 'ops', failing_for: 5, last: { status: 500 } },
};

const text = JSON.stringify(FAILED);
const render = (kind: keyof typeof BODY_KINDS, event: object): unknown =>
  JSON.parse(BODY_KINDS[kind].render(JSON.stringify(event)));

describe('every kind of body', () => {
  test.each([
    ['standard', 'application/json'],
    ['cloudevents', 'application/cloudevents+json'],
  ] as const)(
    'body kind %s is %s, with the same bytes each time for the same event',
    (kind, contentType) => {
      expect(BODY_KINDS[kind].contentType).toBe(contentType);
      expect(BODY_KINDS[kind].render(text)).toBe(BODY_KINDS[kind].render(text));
    },
  );

  test('a standard body is the text of the event, byte for byte', () => {
    const odd = '{"id" : "evt_1",\n "x":"\\u00e9\\/é"}';
    expect(BODY_KINDS.standard.render(odd)).toBe(odd);
  });
});

describe('a CloudEvent', () => {
  test("a CloudEvent carries the event's data under the attributes of version 1.0", () => {
    expect(render('cloudevents', FAILED)).toEqual({
      specversion: '1.0',
      id: 'evt_1',
      source: '/runwatch/default',
      type: 'runwatch.run.failed',
      subject: 'run-1',
      time: '2026-01-01T12:02:05.500Z',
      datacontenttype: 'application/json',
      data: FAILED.data,
    });
  });

  test('a CloudEvent of a system event has no subject', () => {
    expect(render('cloudevents', ALERT)).toEqual({
      specversion: '1.0',
      id: 'evt_2',
      source: '/runwatch',
      type: 'runwatch.endpoint.failing',
      time: ALERT.timestamp,
      datacontenttype: 'application/json',
      data: ALERT.data,
    });
    expect(render('cloudevents', { ...ALERT, type: 'runwatch.test' })).toMatchObject({
      type: 'runwatch.test',
    });
  });
});

const message: Message = {
  eventId: 'evt_1',
  eventType: 'run.failed',
  body: '{"a":"é 🚀 \\u2028"}',
};

describe('signing', () => {
  test('a signature matches the example of the Standard Webhooks specification', () => {
    const sign = createSigner(['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']);
    const example: Message = {
      eventId: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      eventType: 'run.failed',
      body: '{"test": 2432232314}',
    };
    expect(sign(example, 1_614_265_330_999)).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('both secrets verify while one replaces the other, and no third does', () => {
    const [old, next, other] = [generateSecret(), generateSecret(), generateSecret()];
    const headers = createSigner([next, old])(message, Date.now());
    expect(headers['webhook-signature']?.split(' ')).toHaveLength(2);
    expect(new Webhook(old).verify(message.body, headers)).toEqual(JSON.parse(message.body));
    expect(new Webhook(next).verify(message.body, headers)).toEqual(JSON.parse(message.body));
    expect(() => new Webhook(other).verify(message.body, headers)).toThrow('No matching signature');
  });

  test('a webhook without a secret has an id and a time, and no signature', () => {
    expect(createSigner([])(message, 1_000)).toEqual({
      'webhook-id': 'evt_1',
      'webhook-timestamp': '1',
    });
  });

  test('a generated secret holds 32 bytes and is new each time', () => {
    const secret = generateSecret();
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(generateSecret()).not.toBe(secret);
  });

  test.each(['hunter2', 'whsec_', 'whsec_%%%%'])(
    'the secret %s is refused without being repeated',
    (secret) => {
      const create = () => createSigner([secret]);
      expect(create).toThrow(expect.objectContaining({ code: 'invalid_webhook_secret' }));
      expect(create).toThrow(expect.not.objectContaining({ cause: expect.anything() }));
    },
  );
});

test('a derived secret belongs to a source, scheme, host, port and path, and to the instance', () => {
  const [one, other] = [generateSecret(), generateSecret()];
  const derive = (url: string, source = 'a') => deriveWebhookSecret(one, { source, url });
  expect(derive('https://a.example/x?token=1')).toBe(derive('https://a.example:443/x'));
  const all = ['https://a.example/x', 'https://a.example/y', 'https://b.example/x'].map((url) =>
    derive(url),
  );
  const others = [
    derive('http://a.example/x'),
    derive('https://a.example:8443/x'),
    derive('https://a.example/x', 'b'),
    deriveWebhookSecret(other, { source: 'a', url: 'https://a.example/x' }),
    deriveEndpointSecret(one, 'a'),
    deriveEndpointSecret(one, 'b'),
    deriveEndpointSecret(other, 'a'),
    one,
  ];
  expect(new Set([...all, ...others]).size).toBe(11);
  for (const secret of all) expect(Buffer.from(secret.slice(6), 'base64')).toHaveLength(32);
});

test('a webhook with a path of any length that the API takes has a derived secret', () => {
  const url = `https://a.example/${'x'.repeat(2_000)}`;
  expect(deriveWebhookSecret(generateSecret(), { source: 'a', url })).toMatch(/^whsec_/);
});
