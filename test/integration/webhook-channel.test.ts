import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { generateSecret } from '../../src/deliver/secrets/sign.ts';
import { A_MESSAGE, webhooks } from '../support/webhooks.ts';

interface Received {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

let server: Server;
let origin: string;
let received: Received[] = [];
let connections = 0;
let answer: (response: ServerResponse) => void;
const { to, close } = webhooks();

beforeAll(async () => {
  server = createServer((request, response) => void receive(request, response));
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

beforeEach(() => {
  received = [];
  answer = (response) => response.end('ok');
});

afterAll(async () => {
  close();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await buffer(request);
  const { method, url, headers } = request;
  received.push({ method, url, headers, body });
  answer(response);
}

function answerWith(status: number, headers: Record<string, string> = {}, body = 'why'): void {
  answer = (response) => response.writeHead(status, headers).end(body);
}

describe('a webhook request', () => {
  test('a webhook sends no byte if another process may have sent it meanwhile', async () => {
    const channel = to(`${origin}/hook`);
    // On a connection of its own, then on one that is kept.
    for (const count of [0, 1]) {
      let asked = 0;
      const sending = channel.send(A_MESSAGE, undefined, () => (asked += 1) === 0);
      await expect(sending).rejects.toMatchObject({ code: 'claim_too_old' });
      expect([asked, received.length]).toEqual([1, count]);
      await channel.send(A_MESSAGE, undefined, () => true);
    }
  });

  test.each([
    ['an emoji and combining marks', JSON.stringify({ text: '🚀 é e\u0301 \u2028 \u{10ffff}' })],
    ['escapes', '{"text":"\\u0000 \\ud83d\\ude80 \\/ \\" \\\\ \\n","n":1e3, "s" : "odd  spacing"}'],
    ['20 KiB', JSON.stringify({ text: 'é'.repeat(10_240) })],
    ['a lone surrogate', JSON.stringify({ text: 'a\ud83d' })],
  ])('a webhook carries exactly the signed bytes: %s', async (_name, body) => {
    const secret = generateSecret();
    const channel = to(`${origin}/hook?a=b`, { secrets: [secret] });
    expect((await channel.send({ ...A_MESSAGE, body })).kind).toBe('delivered');
    const [request] = received;
    expect(request?.body.equals(Buffer.from(body))).toBe(true);
    const verified = new Webhook(secret).verify(
      request?.body ?? '',
      request?.headers as Record<string, string>,
    );
    expect(verified).toEqual(JSON.parse(body));
  });

  test('a webhook has the headers of the contract and those of its endpoint', async () => {
    const at = Date.parse('2026-01-02T03:04:05.678Z');
    const clocked = webhooks({ now: () => at });
    const headers = { Authorization: 'Bearer t', 'X-Team': 'a' };
    const channel = clocked.to(`${origin}/hook?a=b`, { headers, secrets: [generateSecret()] });
    await channel.send(A_MESSAGE);
    clocked.close();
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({ method: 'POST', url: '/hook?a=b' });
    expect(received[0]?.headers).toEqual({
      'content-type': 'application/json',
      'content-length': String(A_MESSAGE.body.length),
      'user-agent': 'runwatch/1.2.3',
      'webhook-id': 'evt_1',
      'webhook-timestamp': String(Math.floor(at / 1_000)),
      'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
      authorization: 'Bearer t',
      'x-team': 'a',
      host: origin.slice('http://'.length),
      connection: 'keep-alive',
    });
    const { 'content-length': _l, host: _h, connection: _c, ...shown } = received[0]?.headers ?? {};
    const masked = { 'webhook-signature': 'v1,…', authorization: '…', 'x-team': '…' };
    expect(channel.shownHeaders?.('evt_1', at)).toEqual({ ...shown, ...masked });
  });

  test('headers shown of a webhook mask each signature and the credentials of its URL', () => {
    const url = origin.replace('//', '//user:pass@');
    const channel = to(url, { secrets: [generateSecret(), generateSecret()] });
    expect(channel.shownHeaders?.('evt_1', 0)).toMatchObject({
      'webhook-signature': 'v1,… v1,…',
      authorization: '…',
    });
    expect(to(origin).shownHeaders?.('evt_1', 0)).not.toHaveProperty('webhook-signature');
  });

  test('an attempt has the times of its parts, and shows that a connection was kept alive', async () => {
    const fresh = webhooks();
    const send = async () => (await fresh.to(origin).send(A_MESSAGE)).attempt;
    const [first, second] = [await send(), await send()];
    fresh.close();
    const ms = expect.any(Number);
    expect([first.phases, second.phases]).toEqual([
      [ms, ms, ms],
      [null, ms, ms],
    ]);
    const sum = first.phases?.reduce<number>((all, part) => all + (part ?? 0), 0) ?? 0;
    // Both are rounded; on a busy machine time passes between the two clocks.
    expect(sum).toBeLessThanOrEqual(first.durationMs + 2);
  });

  test('a webhook is signed anew for every attempt, with the same id', async () => {
    let at = 1_000_000;
    const clocked = webhooks({ now: () => at });
    const channel = clocked.to(origin, { secrets: [generateSecret(), generateSecret()] });
    await channel.send(A_MESSAGE);
    at += 60_000;
    await channel.send(A_MESSAGE);
    clocked.close();
    const [first, second] = received.map(({ headers }) => headers);
    expect(second?.['webhook-id']).toBe(first?.['webhook-id']);
    expect(second?.['webhook-timestamp']).toBe('1060');
    expect(second?.['webhook-signature']).not.toBe(first?.['webhook-signature']);
    expect(String(first?.['webhook-signature']).split(' ')).toHaveLength(2);
  });

  test('webhooks of all channels to one origin share a kept-alive connection', async () => {
    const before = connections;
    for (let i = 0; i < 5; i += 1) await to(`${origin}/${i}`).send(A_MESSAGE);
    expect(received).toHaveLength(5);
    expect(connections - before).toBeLessThanOrEqual(1);
  });

  test.each([
    ['a reserved header', { headers: { 'webhook-id': 'x' } }, 'invalid_header'],
    ['a broken secret', { secrets: ['whsec_%'] }, 'invalid_webhook_secret'],
  ])('a webhook with %s is refused at setup', (_name, target, code) => {
    expect(() => to(origin, target)).toThrow(expect.objectContaining({ code }));
  });
});

describe('the answer to a webhook', () => {
  test.each([200, 201, 202, 204, 205, 206, 226, 299])(
    'status %i counts as delivered',
    async (status) => {
      answerWith(status, {}, status === 204 || status === 205 ? '' : 'why');
      const outcome = await to(origin).send(A_MESSAGE);
      expect(outcome).toMatchObject({ kind: 'delivered', attempt: { status, error: null } });
    },
  );

  test.each([300, 301, 302, 303, 304, 307, 308, 399])(
    'status %i fails as a redirect that is not followed',
    async (status) => {
      answerWith(status, { location: `${origin}/elsewhere` });
      const outcome = await to(origin).send(A_MESSAGE);
      expect(outcome).toMatchObject({
        kind: 'failed',
        attempt: {
          status,
          error: { code: 'redirect', message: expect.stringMatching(/redirects are not followed/) },
        },
      });
      expect(received).toHaveLength(1);
    },
  );

  test('status 410 refuses', async () => {
    answerWith(410);
    expect(await to(origin).send(A_MESSAGE)).toMatchObject({
      kind: 'refused',
      attempt: { status: 410, error: { code: 'status', message: 'answered 410 Gone' } },
    });
  });

  test.each([400, 401, 403, 404, 405, 408, 409, 413, 418, 422, 425, 429, 451, 499, 500, 501, 502])(
    'status %i fails',
    async (status) => {
      answerWith(status);
      expect(await to(origin).send(A_MESSAGE)).toMatchObject({
        kind: 'failed',
        attempt: { status, response: 'why', error: { code: 'status' } },
      });
    },
  );

  test.each([503, 504, 505, 507, 511, 599, 600, 999])('status %i fails', async (status) => {
    answerWith(status);
    expect(await to(origin).send(A_MESSAGE)).toMatchObject({ kind: 'failed', attempt: { status } });
  });

  test.each([
    [429, '7', 'throttled', 7_000],
    [503, '120', 'throttled', 120_000],
    [503, 'Thu, 01 Jan 1970 00:17:00 GMT', 'throttled', 20_000],
    [503, 'Thu, 01 Jan 1970 00:00:00 GMT', 'throttled', 0],
    [429, '9999999', 'throttled', 86_400_000],
    [429, 'soon', 'failed', undefined],
    [500, '7', 'failed', 7_000],
    [302, '7', 'failed', 7_000],
  ])(
    'status %i with Retry-After: %s is %s, for %p ms',
    async (status, header, kind, retryAfterMs) => {
      const clocked = webhooks({ now: () => 1_000_000 });
      answerWith(status, { 'retry-after': header });
      const { attempt, ...outcome } = await clocked.to(origin).send(A_MESSAGE);
      expect(attempt.status).toBe(status);
      expect(outcome).toEqual(retryAfterMs === undefined ? { kind } : { kind, retryAfterMs });
      clocked.close();
    },
  );

  test('the answer to a webhook is kept up to 1 KiB, without control characters', async () => {
    answerWith(500, {}, `\u001b[31m${'x'.repeat(5_000)}`);
    const { attempt } = await to(origin).send(A_MESSAGE);
    expect(attempt.response).toBe(`\ufffd[31m${'x'.repeat(1_019)}`);
  });

  test('the answer to a webhook is not decompressed', async () => {
    const bomb = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    answer = (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb);
    expect((await to(origin).send(A_MESSAGE)).kind).toBe('delivered');
    expect(received[0]?.headers['accept-encoding']).toBeUndefined();
  });
});
