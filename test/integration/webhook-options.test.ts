import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import https, { type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { BODY_KINDS } from '../../src/deliver/channels/bodies.ts';
import type { TlsOptions } from '../../src/core/tls.ts';
import { generateSecret } from '../../src/deliver/secrets/sign.ts';
import {
  CERT_FOR_LOCALHOST,
  CERT_FOR_OTHER_HOST,
  CERT_SELF_SIGNED,
  TEST_CA,
  TEST_KEY,
} from '../support/certificates.ts';
import { A_MESSAGE, failureOf, webhooks } from '../support/webhooks.ts';

const releasers: (() => unknown)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

interface Received {
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** The common name of the client's certificate. */
  client: string | undefined;
  /** Which connection it came by. */
  port: number | undefined;
}

/** An HTTPS server with a certificate of the test authority, and what it received. */
async function receiver({
  keepAlive = true,
  ...options
}: ServerOptions & { keepAlive?: boolean } = {}) {
  const received: Received[] = [];
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const socket = request.socket as TLSSocket;
    const { subject } = socket.getPeerCertificate();
    const client = subject === undefined ? undefined : String(subject.CN);
    const { remotePort: port } = socket;
    received.push({ headers: request.headers, body: await buffer(request), client, port });
    response.shouldKeepAlive = keepAlive;
    response.end('ok');
  };
  const server = https.createServer(
    { key: TEST_KEY, cert: CERT_FOR_LOCALHOST, ...options },
    (request, response) => void receive(request, response),
  );
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const hooks = webhooks();
  releasers.push(async () => {
    hooks.close();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    received,
    hooks,
    url,
    send: (tls?: TlsOptions) => hooks.to(url, tls && { tls }).send(A_MESSAGE),
  };
}

const MUTUAL = { requestCert: true, ca: TEST_CA };
const ONE = { ca: TEST_CA, certificate: CERT_FOR_LOCALHOST, key: TEST_KEY };
const OTHER = { ca: TEST_CA, certificate: CERT_FOR_OTHER_HOST, key: TEST_KEY };

describe('a private authority', () => {
  test('a private authority is trusted for the endpoint that names it', async () => {
    const { send } = await receiver();
    expect((await send({ ca: TEST_CA })).kind).toBe('delivered');
  });

  test('a private authority is not trusted for other endpoints, not even over an open connection', async () => {
    const { send, received } = await receiver();
    await send({ ca: TEST_CA });
    const { code, message } = failureOf(await send());
    expect(code).toBe('tls');
    expect(message).toMatch(/failed the TLS check: its certificate .* not trusted/);
    expect(received).toHaveLength(1);
  });

  test('a configured authority replaces those of Node, and the TLS error says which check failed', async () => {
    const { send, received } = await receiver();
    const { code, message } = failureOf(await send({ ca: CERT_SELF_SIGNED }));
    expect(code).toBe('tls');
    expect(message).toMatch(
      /127\.0\.0\.1 failed the TLS check: its certificate .* not trusted \(UNABLE/,
    );
    expect(received).toEqual([]);
  });
});

describe('a client certificate', () => {
  test('a client certificate is sent to a receiver that requests one', async () => {
    const { send, received } = await receiver(MUTUAL);
    expect((await send(ONE)).kind).toBe('delivered');
    expect(received[0]?.client).toBe('localhost');
  });

  test.each([
    ['connections', true, 3],
    ['TLS sessions', false, 6],
  ])(
    'two endpoints with different client certificates share no %s',
    async (_what, keepAlive, connections) => {
      const { send, received } = await receiver({
        ...MUTUAL,
        rejectUnauthorized: false,
        keepAlive,
      });
      for (const tls of [ONE, OTHER, { ca: TEST_CA }, ONE, OTHER, { ca: TEST_CA }]) await send(tls);
      const clients = received.map(({ client }) => client);
      expect(clients).toEqual(['localhost', 'other', undefined, 'localhost', 'other', undefined]);
      expect(new Set(received.map(({ port }) => port)).size).toBe(connections);
    },
  );

  test.each([
    ['TLSv1.3', /failed the TLS check: it asks for a client certificate/],
    ['TLSv1.2', /failed the TLS check: it refused the handshake, as it does for want of a client/],
  ] as const)('that is missing fails the check by %s', async (maxVersion, message) => {
    const { send, received } = await receiver({ ...MUTUAL, maxVersion });
    const failure = failureOf(await send({ ca: TEST_CA }));
    expect(failure).toEqual({ code: 'tls', message: expect.stringMatching(message) });
    expect(received).toEqual([]);
  });

  test('a client certificate that the receiver does not trust fails the delivery', async () => {
    const { send, received } = await receiver(MUTUAL);
    const tls = { ca: TEST_CA, certificate: CERT_SELF_SIGNED, key: TEST_KEY };
    expect((await send(tls)).kind).toBe('failed');
    expect(received).toEqual([]);
  });
});

describe('a webhook that proves itself', () => {
  test.each([
    [{ bearer: 't0ken' }, 'Bearer t0ken'],
    [
      { basic: { username: 'ünï', password: 'pä:ß 🔑' } },
      `Basic ${Buffer.from('ünï:pä:ß 🔑').toString('base64')}`,
    ],
  ])('a webhook with credentials sends %j', async (auth, authorization) => {
    const { hooks, received, url } = await receiver();
    const channel = hooks.to(url, { auth, tls: { ca: TEST_CA }, headers: { 'x-team': 'a' } });
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
    expect(received[0]?.headers).toMatchObject({ authorization, 'x-team': 'a' });
  });

  test.each([
    ['', {}, 'Basic dTpw'],
    [', but for the header of the endpoint', { authorization: 'Bearer t0ken' }, 'Bearer t0ken'],
  ])('a webhook sends the credentials in its URL%s', async (_but, headers, authorization) => {
    const { hooks, received, url } = await receiver();
    const channel = hooks.to(url.replace('//', '//u:p@'), { headers, tls: { ca: TEST_CA } });
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
    expect(received[0]?.headers).toMatchObject({ authorization });
  });
});

describe('a body of another kind', () => {
  const event = (text: string) =>
    JSON.stringify({
      id: 'evt_1',
      type: 'run.failed',
      timestamp: '2026-01-01T12:00:00.000Z',
      data: { run_id: 'run-1', watch: { source: 'default', metadata: { text } } },
    });

  test.each(
    Object.entries(BODY_KINDS).flatMap(([name, kind]) =>
      (
        [
          ['an emoji', '🚀 e\u0301 \u2028'],
          ['escapes', '\u0000 \\ " \n <&>'],
          ['20 KiB', 'é'.repeat(10_240)],
        ] as const
      ).map(([what, text]) => [name, what, kind, text] as const),
    ),
  )('%s is signed as it is sent: %s', async (_name, _what, kind, text) => {
    const { hooks, received, url } = await receiver();
    const secrets = [generateSecret(), generateSecret()];
    const channel = hooks.to(url, { secrets, body: kind, tls: { ca: TEST_CA } });
    const message = { ...A_MESSAGE, body: event(text) };
    for (let attempt = 0; attempt < 2; attempt += 1) await channel.send(message);
    const [first, second] = received;
    expect(first?.headers['content-type']).toBe(kind.contentType);
    expect(first?.body.toString()).toBe(kind.render(message.body));
    expect(second?.body.equals(first?.body ?? Buffer.alloc(0))).toBe(true);
    for (const secret of secrets) {
      const headers = first?.headers as Record<string, string>;
      expect(new Webhook(secret).verify(first?.body ?? '', headers)).toEqual(
        JSON.parse(kind.render(message.body)),
      );
    }
  });
});
