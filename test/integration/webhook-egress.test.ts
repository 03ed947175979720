import { afterEach, describe, expect, test } from '@jest/globals';
import type { Resolve } from '../../src/names.ts';
import { answering, listenRaw, type RawServer } from '../support/raw-server.ts';
import { A_MESSAGE, failureOf, webhooks } from '../support/webhooks.ts';

const OK = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok';
const releasers: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

async function listening(options = {}): Promise<RawServer> {
  const server = await listenRaw(answering(OK), options);
  releasers.push(() => server.close());
  return server;
}

function guarded(allow: string[], resolve?: Resolve) {
  const hooks = webhooks({ allow, ...(resolve && { resolve }) });
  releasers.push(hooks.close);
  return hooks;
}

const found = (...addresses: string[]) => addresses.map((address) => ({ address, family: 4 }));

describe('egress guard of the connections', () => {
  test.each([
    ['127.0.0.1', 'loopback'],
    ['2130706433', 'loopback'],
    ['0x7f.1', 'loopback'],
    ['0177.0.0.1', 'loopback'],
    ['127.1', 'loopback'],
    ['127.0.0.1.', 'loopback'],
    ['localhost', 'loopback'],
    ['0', 'unspecified'],
    ['[::ffff:127.0.0.1]', 'ipv4_mapped'],
    ['[::1]', 'loopback'],
    ['[::]', 'unspecified'],
  ])('nothing connects to %s (%s)', async (host, rule) => {
    const server = await listening();
    for (const scheme of ['http', 'https']) {
      const outcome = await guarded([]).to(`${scheme}://${host}:${server.port}/`).send(A_MESSAGE);
      expect(failureOf(outcome)).toMatchObject({
        code: 'egress_blocked',
        message: expect.stringContaining(`(${rule})`),
      });
    }
    expect(server.connects()).toBe(0);
  });

  test('nothing connects to a name that resolves to a private address', async () => {
    const server = await listening();
    const { to } = guarded([], () => Promise.resolve(found('127.0.0.1')));
    const error = failureOf(await to(`https://hooks.example.com:${server.port}/`).send(A_MESSAGE));
    expect(error).toEqual({
      code: 'egress_blocked',
      message:
        'blocked by the egress guard: hooks.example.com resolves to 127.0.0.1, which is not a public ' +
        `address (loopback): add "hooks.example.com:${server.port}" to egress.allow`,
    });
    expect(server.connects()).toBe(0);
  });

  test.each([
    ['its address', (port: number) => [`127.0.0.1:${port}`], '127.0.0.1'],
    ['its name', (port: number) => [`hooks.internal:${port}`], 'hooks.internal'],
    ['a range', () => ['127.0.0.0/8'], 'hooks.internal'],
    ['a single address', () => ['127.0.0.1'], '127.0.0.1'],
  ])('an allow-list entry for %s permits plain http', async (_name, allow, host) => {
    const server = await listening();
    const { to } = guarded(allow(server.port), () => Promise.resolve(found('127.0.0.1')));
    const outcome = await to(`http://${host}:${server.port}/`).send(A_MESSAGE);
    expect(outcome.kind).toBe('delivered');
  });

  test('an allow-list entry for one port permits no other', async () => {
    const [allowed, other] = [await listening(), await listening()];
    const { to } = guarded([`127.0.0.1:${allowed.port}`]);
    expect(failureOf(await to(other.origin).send(A_MESSAGE)).code).toBe('egress_blocked');
    expect(other.connects()).toBe(0);
  });

  test('a webhook connects only to the allowed ones of several addresses', async () => {
    const server = await listening();
    const { to } = guarded(['127.0.0.1'], () =>
      Promise.resolve(found('10.0.0.1', '169.254.169.254', '127.0.0.1')),
    );
    const outcome = await to(`http://hooks.internal:${server.port}/`).send(A_MESSAGE);
    expect(outcome.kind).toBe('delivered');
  });

  test('a redirect is not followed, not even to a host that the guard permits', async () => {
    const secret = await listening();
    const moved = `HTTP/1.1 307 Moved\r\nlocation: ${secret.origin}/\r\ncontent-length: 0\r\n\r\n`;
    const server = await listenRaw(answering(moved));
    releasers.push(() => server.close());
    const { to } = guarded([`127.0.0.1:${server.port}`, `127.0.0.1:${secret.port}`]);
    expect(failureOf(await to(server.origin).send(A_MESSAGE)).code).toBe('redirect');
    expect([server.connects(), secret.connects()]).toEqual([1, 0]);
  });

  test('a name that flips 1,000 times between an allowed and a private address never connects to the private one', async () => {
    const server = await listening();
    const trap = await trapBeside(server);
    let calls = 0;
    const { to } = guarded(['127.0.0.1'], () => {
      calls += 1;
      return Promise.resolve(found(calls % 2 === 0 ? '127.0.0.1' : '127.0.0.2'));
    });
    const channel = to(`http://rebind.example:${server.port}/`);
    const kinds: string[] = [];
    for (let i = 0; i < 1_000; i += 1) kinds.push((await channel.send(A_MESSAGE)).kind);
    expect(kinds.filter((kind) => kind === 'delivered')).toHaveLength(500);
    expect(server.connects()).toBe(500);
    expect(trap?.connects() ?? 0).toBe(0);
  });
});

/** A server at the same port of 127.0.0.2; null where the system has no such address (macOS). */
async function trapBeside({ port }: RawServer): Promise<RawServer | null> {
  try {
    return await listening({ host: '127.0.0.2', port });
  } catch {
    return null;
  }
}

describe('the answer of a host that is not public', () => {
  const REDIRECT =
    'HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/admin\r\nconnection: close\r\ncontent-length: 6\r\n\r\ncanary';

  test('an answer of a private host is kept as a status for per-watch webhooks, with its text for endpoints', async () => {
    const server = await listenRaw(answering(REDIRECT));
    releasers.push(() => server.close());
    const { to } = guarded([`127.0.0.1:${server.port}`]);
    const url = `http://127.0.0.1:${server.port}/`;
    const { attempt } = await to(url, { isGuarded: true }).send(A_MESSAGE);
    expect(attempt).toMatchObject({ status: 302, response: null });
    expect(JSON.stringify(attempt)).not.toMatch(/canary|10\.0\.0\.1/);
    const configured = await to(url).send(A_MESSAGE);
    expect(configured.attempt).toMatchObject({ status: 302, response: 'canary' });
  });
});
