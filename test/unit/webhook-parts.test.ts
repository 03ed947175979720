import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { networkError, statusError, timeoutError } from '../../src/deliver/attempt-error.ts';
import { Deadline } from '../../src/deadline.ts';
import { responseText } from '../../src/deliver/http-post.ts';
import { customHeaders, headerProblem } from '../../src/deliver/channels/webhook.ts';

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
