import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { NOON } from '../support/builders.ts';
import { deliveryRig, type DeliveryRig } from '../support/delivery-rig.ts';
import { answering, listenRaw } from '../support/raw-server.ts';
import { webhooks } from '../support/webhooks.ts';

/** After the first failure, ms; nothing is added to it here. */
const RETRY_MS = 5_000;

interface Told {
  state: string;
  attemptCount: number;
  /** From the attempt to the next one, ms. */
  nextIn: number | null;
  error: string | null;
  /** What is made of the endpoint. */
  gate: 'counts_delivered' | 'counts_failed' | 'quiet' | 'disabled';
}

const DELIVERED: Told = {
  state: 'delivered',
  attemptCount: 1,
  nextIn: null,
  error: null,
  gate: 'counts_delivered',
};
const FAILED: Told = {
  state: 'pending',
  attemptCount: 1,
  nextIn: RETRY_MS,
  error: 'status',
  gate: 'counts_failed',
};
const GONE: Told = { ...FAILED, state: 'dead', nextIn: null, gate: 'disabled' };
const quiet = (ms: number): Told => ({ ...FAILED, nextIn: ms, gate: 'quiet' });

let server: Server;
let origin: string;

beforeAll(async () => {
  // Says the status that the path asks for, and how long to wait.
  server = createServer(({ url = '' }, response) => {
    const [, status, retryAfter] = url.split('/');
    const headers = retryAfter ? { 'retry-after': decodeURIComponent(retryAfter) } : {};
    response.writeHead(Number(status), headers).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const releasers: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

/** The delivery half with real webhooks, each endpoint being a name for a URL. */
function webhookRig(
  urls: Record<string, string>,
  { timeoutMs = 20_000, ...options }: Parameters<typeof webhooks>[0] & { timeoutMs?: number } = {},
) {
  const hooks = webhooks({ now: () => NOON, ...options });
  const rig = deliveryRig({
    retry: [RETRY_MS],
    routeOf: async ({ endpoint }) => ({
      channel: hooks.to(urls[endpoint] ?? '', { timeoutMs }),
      retry: [RETRY_MS],
    }),
  });
  releasers.push(rig.close, hooks.close);
  return rig;
}

/** Makes one attempt at each endpoint and says what became of it. */
async function tellEach(rig: DeliveryRig, endpoints: string[]): Promise<Record<string, Told>> {
  const ids: string[] = [];
  for (const endpoint of endpoints) {
    ids.push(...(await rig.plan(rig.newRun(), endpoint, ['run.completed'])));
  }
  await rig.settle();
  const told: Record<string, Told> = {};
  for (const [at, endpoint] of endpoints.entries()) {
    const { state, attemptCount, nextAttemptAt, last } = await rig.get(ids[at] ?? '');
    told[endpoint] = {
      state,
      attemptCount,
      nextIn: nextAttemptAt === null ? null : nextAttemptAt - rig.now(),
      error: last?.error?.code ?? null,
      gate: await judgement(rig, endpoint),
    };
  }
  return told;
}

async function judgement(rig: DeliveryRig, endpoint: string): Promise<Told['gate']> {
  const { disabled, throttledUntil, minutes, failingSince } = await rig.state(endpoint);
  if (disabled !== null) return 'disabled';
  if (throttledUntil !== null) return 'quiet';
  const [minute] = minutes;
  expect(failingSince).toBe(minute?.failed === 1 ? rig.now() : null);
  return minute?.failed === 1 ? 'counts_failed' : 'counts_delivered';
}

/** What the policy says of a status. @param quietMs what `Retry-After` asks for, where it is there */
function byPolicy(status: number, quietMs: number | null): Told {
  if (status <= 299) return DELIVERED;
  if (status === 410) return GONE;
  if (quietMs !== null && (status === 429 || status === 503)) return quiet(quietMs);
  const failed = { ...FAILED, nextIn: Math.max(RETRY_MS, quietMs ?? 0) };
  return status <= 399 ? { ...failed, error: 'redirect' } : failed;
}

const STATUSES = Array.from({ length: 400 }, (_, at) => 200 + at);
/** Those with a meaning of their own, and some of each class. */
const TELLING = [410, 413, 429, 503, ...STATUSES.filter((status) => status % 20 === 0)];
const inSeconds = (ms: number) => String(ms / 1_000);
const asDate = (ms: number) => new Date(NOON + ms).toUTCString();

describe('every status from 200 to 599', () => {
  test.each([
    ['without Retry-After', '', null],
    ['with Retry-After in seconds', inSeconds(120_000), 120_000],
    ['with Retry-After as a date', asDate(90_000), 90_000],
    ['with Retry-After of two days, which is an hour', inSeconds(172_800_000), 3_600_000],
    ['with Retry-After in the past, which is a second', asDate(-60_000), 1_000],
    ['with Retry-After of nothing, which is a second', '0', 1_000],
    ['with Retry-After that is none', 'tomorrow', null],
  ])('each status from 200 to 599 is handled by the policy, %s', async (_what, header, quietMs) => {
    const path = header === '' ? '' : `/${encodeURIComponent(header)}`;
    const statuses = header === '' ? STATUSES : TELLING;
    const urls = Object.fromEntries(
      statuses.map((status) => [`answers-${status}`, `${origin}/${status}${path}`]),
    );
    const expected = Object.fromEntries(
      statuses.map((status) => [`answers-${status}`, byPolicy(status, quietMs)]),
    );
    expect(await tellEach(webhookRig(urls), Object.keys(urls))).toEqual(expected);
  });
});

describe('every class of network error', () => {
  const receivers: [string, (socket: Socket) => void][] = [
    ['reset', (socket) => socket.once('data', () => socket.destroy())],
    ['reset', (socket) => socket.resetAndDestroy()],
    ['timeout', (socket) => socket.resume()],
    ['protocol', answering('SMTP ready\r\n\r\n')],
    ['protocol', answering('HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')],
    ['too_large', answering(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`)],
  ];

  test.each(receivers)('network error %s of a receiver is retried', async (code, serve) => {
    const raw = await listenRaw(serve);
    releasers.push(() => raw.close());
    const rig = webhookRig({ hook: raw.origin }, code === 'timeout' ? { timeoutMs: 300 } : {});
    expect((await tellEach(rig, ['hook']))['hook']).toEqual({ ...FAILED, error: code });
  });

  test('a refused connection is retried', async () => {
    const raw = await listenRaw(() => undefined);
    await raw.close();
    const told = await tellEach(webhookRig({ hook: raw.origin }), ['hook']);
    expect(told['hook']).toEqual({ ...FAILED, error: 'refused' });
  });

  test('a block by the egress guard is retried, since its rules may change', async () => {
    const told = await tellEach(webhookRig({ hook: 'https://169.254.169.254/' }), ['hook']);
    expect(told['hook']).toEqual({ ...FAILED, error: 'egress_blocked' });
  });

  test.each([
    ['ENOTFOUND', 'dns'],
    ['ENODATA', 'dns'],
    ['EAI_AGAIN', 'dns'],
    ['ECONNREFUSED', 'refused'],
    ['ECONNRESET', 'reset'],
    ['EPIPE', 'reset'],
    ['EHOSTUNREACH', 'unreachable'],
    ['ENETUNREACH', 'unreachable'],
    ['ETIMEDOUT', 'timeout'],
    ['CERT_HAS_EXPIRED', 'tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls'],
    ['EPROTO', 'tls'],
    ['HPE_INVALID_CONSTANT', 'protocol'],
    ['HPE_HEADER_OVERFLOW', 'too_large'],
  ])('network error %s, which is %s, is retried', async (code, error) => {
    const thrown = Object.assign(new Error('x'), { code });
    const rig = webhookRig(
      { hook: 'https://hooks.example.com/' },
      { resolve: () => Promise.reject(thrown) },
    );
    expect((await tellEach(rig, ['hook']))['hook']).toEqual({ ...FAILED, error });
  });
});
