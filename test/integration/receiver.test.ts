import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const OTHER_SECRET = `whsec_${randomBytes(32).toString('base64')}`;

let receiver: Receiver;

afterEach(async () => {
  await receiver.close();
});

interface Sent {
  secret?: string;
  at?: Date;
  body?: string;
  headers?: Record<string, string>;
}

/** Sends a signed webhook as any sender does. */
async function deliver({ secret = SECRET, at = new Date(), body, headers }: Sent = {}) {
  const text = body ?? '{"id":"evt_1","type":"run.failed","data":{"run_id":"run-1"}}';
  return fetch(`${receiver.url}/hooks`, {
    method: 'POST',
    body: text,
    headers: {
      'content-type': 'application/json',
      'webhook-id': 'evt_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign('evt_1', at, text),
      ...headers,
    },
  });
}

describe('receiver with a secret', () => {
  test('a receiver accepts a webhook signed with its secret, and records its exact body', async () => {
    receiver = await startReceiver({ secrets: [SECRET] });
    const body = '{ "type" : "run.failed",\n "note" : "ü \\u00fc" }';
    expect((await deliver({ body })).status).toBe(204);
    expect(receiver.received).toEqual([
      {
        id: 'evt_1',
        type: 'run.failed',
        receivedAt: expect.any(Number),
        verified: true,
        problem: null,
        headers: expect.objectContaining({ 'webhook-id': 'evt_1' }),
        body,
      },
    ]);
  });

  test('a receiver accepts any of several secrets', async () => {
    receiver = await startReceiver({ secrets: [OTHER_SECRET, SECRET] });
    expect((await deliver({ secret: OTHER_SECRET })).status).toBe(204);
    expect((await deliver({ secret: SECRET })).status).toBe(204);
  });

  test.each<[string, () => Sent, string]>([
    ['another secret', () => ({ secret: OTHER_SECRET }), 'No matching signature found'],
    ['no signature', () => ({ headers: { 'webhook-signature': '' } }), 'Missing required headers'],
    ['another id', () => ({ headers: { 'webhook-id': 'evt_2' } }), 'No matching signature found'],
    ['an old date', () => ({ at: new Date(Date.now() - 360_000) }), 'Message timestamp too old'],
    ['a date to come', () => ({ at: new Date(Date.now() + 360_000) }), 'Message timestamp too new'],
  ])('a receiver refuses a webhook with %s, and says why', async (_what, sent, problem) => {
    receiver = await startReceiver({ secrets: [SECRET] });
    expect((await deliver(sent())).status).toBe(401);
    expect(receiver.received).toMatchObject([{ verified: false, problem }]);
  });

  test('a receiver refuses bytes that only look the same as text', async () => {
    receiver = await startReceiver({ secrets: [SECRET] });
    const at = new Date();
    const response = await fetch(receiver.url, {
      method: 'POST',
      body: Buffer.from([0x22, 0xff, 0x22]),
      headers: {
        'webhook-id': 'evt_1',
        'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
        'webhook-signature': new Webhook(SECRET).sign('evt_1', at, '"\ufffd"'),
      },
    });
    expect(response.status).toBe(401);
    expect(receiver.received[0]?.problem).toBe('Body is not UTF-8');
  });

  test('a receiver does not start with an invalid secret, and does not print it', async () => {
    receiver = await startReceiver({ secrets: [] });
    const started = startReceiver({ secrets: ['whsec_not*base64'] });
    await expect(started).rejects.toMatchObject({
      code: 'invalid_secret',
      message: expect.not.stringContaining('not*base64'),
    });
  });
});

test('a receiver without a secret accepts all webhooks as unverified', async () => {
  receiver = await startReceiver({ secrets: [] });
  expect((await deliver()).status).toBe(204);
  expect(receiver.received).toMatchObject([{ verified: false, type: 'run.failed' }]);
});

test('a receiver records bodies that are no events', async () => {
  receiver = await startReceiver({ secrets: [SECRET] });
  await deliver({ body: 'hello' });
  expect(receiver.received).toMatchObject([{ type: null, body: 'hello', verified: true }]);
});

test('a receiver gives the configured answer', async () => {
  const seen: (string | null)[] = [];
  receiver = await startReceiver({
    secrets: [SECRET],
    onReceived: ({ id }) => seen.push(id),
    respond: () =>
      seen.length === 1 ? { status: 429, headers: { 'retry-after': '3' }, delayMs: 10 } : 500,
  });
  const first = await deliver();
  expect([first.status, first.headers.get('retry-after')]).toEqual([429, '3']);
  expect((await deliver()).status).toBe(500);
  expect(seen).toEqual(['evt_1', 'evt_1']);
});

test('a receiver refuses other methods and bodies over 1 MiB', async () => {
  receiver = await startReceiver({ secrets: [] });
  expect((await fetch(receiver.url)).status).toBe(405);
  expect((await deliver({ body: 'x'.repeat(1_048_576) })).status).toBe(204);
  expect((await deliver({ body: 'x'.repeat(1_048_577) })).status).toBe(413);
  expect(receiver.received).toHaveLength(1);
});

test('a receiver holds only as many webhooks as configured', async () => {
  receiver = await startReceiver({ secrets: [], keep: 2 });
  for (const body of ['1', '2', '3']) await deliver({ body });
  expect(receiver.received.map(({ body }) => body)).toEqual(['2', '3']);
});

test('a closed receiver ends connections, idle or waiting for an answer', async () => {
  receiver = await startReceiver({
    secrets: [],
    respond: ({ body }) => (body === 'slow' ? { status: 204, delayMs: 600_000 } : 204),
  });
  await deliver({ body: 'quick' });
  const ended = expect(deliver({ body: 'slow' })).rejects.toThrow('fetch failed');
  await waitFor(() => receiver.received.length === 2);
  await receiver.close();
  await ended;
});
