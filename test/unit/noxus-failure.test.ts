import { describe, expect, test } from '@jest/globals';
import { networkFailure, timedOutPhase } from '../../src/noxus/errors.ts';

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
