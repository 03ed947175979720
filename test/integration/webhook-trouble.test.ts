import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  CERT_EXPIRED,
  CERT_FOR_LOCALHOST,
  CERT_FOR_OTHER_HOST,
  CERT_SELF_SIGNED,
  TEST_CA,
  TEST_KEY,
} from '../support/certificates.ts';
import { answering, listenRaw, type RawServer } from '../support/raw-server.ts';
import { A_MESSAGE, failureOf, webhooks } from '../support/webhooks.ts';

const releasers: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

/** A server, and a channel to it with a short deadline. */
async function facing(serve: (socket: Socket) => void, timeoutMs = 1_000) {
  const server = await listenRaw(serve);
  const hooks = webhooks();
  releasers.push(() => server.close(), hooks.close);
  return { server, channel: hooks.to(server.origin, { timeoutMs }), hooks };
}

async function noConnectionLeft(server: RawServer): Promise<void> {
  while (server.open() > 0) await new Promise(setImmediate);
}

/** Writes for as long as the other side takes it; `tally` counts how much that was. */
function flood(socket: Socket, chunk: string, tally: { written: number }): void {
  const pump = () => {
    while (!socket.destroyed && socket.write(chunk)) tally.written += chunk.length;
  };
  socket.on('drain', pump);
  pump();
}

describe('a receiver that does not answer', () => {
  test('a receiver that refuses connections fails the attempt', async () => {
    const { server, channel } = await facing(() => undefined);
    await server.close();
    releasers.shift();
    expect(failureOf(await channel.send(A_MESSAGE))).toMatchObject({ code: 'refused' });
  });

  test('a receiver that closes the connection fails the attempt', async () => {
    const { channel, server } = await facing((socket) =>
      socket.once('data', () => socket.destroy()),
    );
    expect(failureOf(await channel.send(A_MESSAGE))).toMatchObject({ code: 'reset' });
    expect(server.connects()).toBe(1);
  });

  test('a receiver that resets the connection fails the attempt', async () => {
    const { channel } = await facing((socket) => socket.resetAndDestroy());
    expect(failureOf(await channel.send(A_MESSAGE))).toMatchObject({ code: 'reset' });
  });

  test('a silent receiver is a timeout', async () => {
    const { channel, server } = await facing((socket) => socket.resume());
    const outcome = await channel.send(A_MESSAGE);
    const { code, message } = failureOf(outcome);
    expect([code, message]).toEqual([
      'timeout',
      'no answer within 1s: still waiting for the answer (headers)',
    ]);
    expect(outcome.attempt.phases).toHaveLength(2);
    await noConnectionLeft(server);
  });

  test('a receiver that does not read the request fails the attempt', async () => {
    const { channel } = await facing((socket) => socket.pause());
    const body = JSON.stringify('x'.repeat(10_000_000));
    expect(failureOf(await channel.send({ ...A_MESSAGE, body })).code).toBe('timeout');
  });

  test('a receiver without a TLS handshake is a timeout', async () => {
    const { hooks, server } = await facing((socket) => socket.resume());
    const channel = hooks.to(`https://127.0.0.1:${server.port}`, { timeoutMs: 1_000 });
    expect(failureOf(await channel.send(A_MESSAGE)).message).toMatch(/\(tls\)$/);
    await noConnectionLeft(server);
  });

  test('a receiver name that does not resolve fails the attempt', async () => {
    const missing = Object.assign(new Error('x'), { code: 'ENOTFOUND' });
    const hooks = webhooks({ resolve: () => Promise.reject(missing) });
    releasers.push(hooks.close);
    expect(failureOf(await hooks.to('https://hooks.example.com').send(A_MESSAGE)).code).toBe('dns');
  });

  test('a receiver name that resolves too slowly is a timeout', async () => {
    const hooks = webhooks({ resolve: () => new Promise(() => undefined) });
    releasers.push(hooks.close);
    const channel = hooks.to('https://hooks.example.com', { timeoutMs: 500 });
    const outcome = await channel.send(A_MESSAGE);
    expect(failureOf(outcome).message).toMatch(/\(dns\)$/);
    // There was no connection, so nothing was sent.
    expect(outcome.attempt.phases).toHaveLength(1);
  });
});

describe('an answer that never ends', () => {
  test('headers that arrive a byte at a time are cut by the deadline', async () => {
    const { channel, server } = await facing((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx: ');
      const timer = setInterval(() => socket.write('a'), 5);
      socket.once('close', () => clearInterval(timer));
    });
    expect(failureOf(await channel.send(A_MESSAGE)).code).toBe('timeout');
    await noConnectionLeft(server);
  });

  test('endless headers are cut at 16 KiB', async () => {
    const tally = { written: 0 };
    const { channel, server } = await facing((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      flood(socket, `x-filler: ${'a'.repeat(1_000)}\r\n`, tally);
    });
    expect(failureOf(await channel.send(A_MESSAGE)).code).toBe('too_large');
    await noConnectionLeft(server);
    expect(tally.written).toBeLessThan(16 * 1_048_576);
  });

  test('endless early hints are cut by the deadline', async () => {
    const { channel } = await facing((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 5);
      socket.once('close', () => clearInterval(timer));
    });
    expect(failureOf(await channel.send(A_MESSAGE)).code).toBe('timeout');
  });

  test.each([
    ['200 OK', 'delivered'],
    ['500 Oops', 'failed'],
  ])('after %s a dripping body changes nothing: %s', async (status, kind) => {
    const { channel, server } = await facing((socket) => {
      socket.write(`HTTP/1.1 ${status}\r\ncontent-length: 1000000\r\n\r\n`);
      const timer = setInterval(() => socket.write('a'), 5);
      socket.once('close', () => clearInterval(timer));
    });
    const outcome = await channel.send(A_MESSAGE);
    expect(outcome.kind).toBe(kind);
    expect(outcome.attempt.response).toMatch(/^a+$/);
    await noConnectionLeft(server);
  });

  test('a receiver that answers 200 and drips its body holds no slot until the deadline', async () => {
    // The deadline would outlast the test.
    const { channel, server } = await facing((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n');
      const timer = setInterval(() => socket.write('a'), 5);
      socket.once('close', () => clearInterval(timer));
    }, 3_600_000);
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
    await noConnectionLeft(server);
  });

  test.each([
    ['200 OK', 'delivered'],
    ['500 Oops', 'failed'],
  ])('after %s a body of 1 GiB is cut: %s', async (status, kind) => {
    const tally = { written: 0 };
    const { channel, server } = await facing((socket) => {
      socket.write(`HTTP/1.1 ${status}\r\ncontent-length: 1073741824\r\n\r\n`);
      flood(socket, 'a'.repeat(65_536), tally);
    });
    const outcome = await channel.send(A_MESSAGE);
    expect(outcome.kind).toBe(kind);
    expect(outcome.attempt.response).toBe('a'.repeat(1_024));
    await noConnectionLeft(server);
    expect(tally.written).toBeLessThan(32 * 1_048_576);
  });

  test('a body that breaks off after 200 counts as delivered', async () => {
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthanks';
    const { channel } = await facing(answering(answer));
    const outcome = await channel.send(A_MESSAGE);
    expect(outcome).toMatchObject({ kind: 'delivered', attempt: { response: 'thanks' } });
  });
});

describe('an answer that is none', () => {
  test.each([
    ['HTML without a status line', '<html>hello</html>\r\n\r\n'],
    ['SMTP', '220 mail.example.com ESMTP\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
  ])('the answer %s is a protocol error', async (_name, answer) => {
    const { channel } = await facing(answering(answer));
    expect(failureOf(await channel.send(A_MESSAGE)).code).toBe('protocol');
  });

  test('a switch of protocols fails, and its connection is closed', async () => {
    const { channel, server } = await facing((socket) => {
      const head = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n';
      socket.once('data', () => socket.write(head));
    });
    expect(failureOf(await channel.send(A_MESSAGE)).code).toBe('protocol');
    await noConnectionLeft(server);
  });
});

describe('a connection that was kept alive', () => {
  test('a kept-alive connection that the receiver closed costs no attempt', async () => {
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
    const { channel, server } = await facing((socket) => {
      socket.once('data', () => {
        socket.write(answer);
        socket.once('data', () => socket.resetAndDestroy());
      });
    });
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
    expect(server.connects()).toBe(2);
  });

  test('a receiver that also closes the fresh connection fails the attempt', async () => {
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
    let answers = 1;
    const { channel, server } = await facing((socket) => {
      socket.on('data', () => {
        if (answers > 0) socket.write(answer);
        else socket.resetAndDestroy();
        answers -= 1;
      });
    });
    await channel.send(A_MESSAGE);
    expect(failureOf(await channel.send(A_MESSAGE)).code).toBe('reset');
    expect(server.connects()).toBe(2);
  });
});

describe('aborting an attempt', () => {
  test('an attempt aborted before the answer has no outcome and leaves no connection', async () => {
    const controller = new AbortController();
    const { channel, server } = await facing((socket) => {
      socket.once('data', () => controller.abort());
    });
    await expect(channel.send(A_MESSAGE, controller.signal)).rejects.toMatchObject({
      code: 'attempt_aborted',
      retriable: true,
    });
    await noConnectionLeft(server);
  });

  test('an attempt aborted after the status keeps the outcome', async () => {
    const controller = new AbortController();
    const { channel } = await facing((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n');
    });
    // Node announces a response just before it hands it on.
    const abort = () => setImmediate(() => controller.abort());
    subscribe('http.client.response.finish', abort);
    releasers.push(() => void unsubscribe('http.client.response.finish', abort));
    expect((await channel.send(A_MESSAGE, controller.signal)).kind).toBe('delivered');
  });

  test('an attempt aborted before its start opens no connection', async () => {
    const { channel, server } = await facing(() => undefined);
    await expect(channel.send(A_MESSAGE, AbortSignal.abort())).rejects.toMatchObject({
      code: 'attempt_aborted',
    });
    expect(server.connects()).toBe(0);
  });
});

/** A channel to a server with the certificate, trusting the authority. */
async function secure(cert: string, ca?: string) {
  const server = https.createServer({ key: TEST_KEY, cert }, (_request, response) => {
    response.end('ok');
  });
  // Failing handshakes are what these tests are about.
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const hooks = webhooks();
  releasers.push(() => {
    server.closeAllConnections();
    server.close();
  }, hooks.close);
  const { port } = server.address() as AddressInfo;
  return hooks.to(`https://127.0.0.1:${port}`, ca === undefined ? {} : { tls: { ca } });
}

describe('TLS', () => {
  test('TLS to a receiver with a trusted authority delivers', async () => {
    const channel = await secure(CERT_FOR_LOCALHOST, TEST_CA);
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
    expect((await channel.send(A_MESSAGE)).kind).toBe('delivered');
  });

  test.each([
    ['an unknown authority', CERT_FOR_LOCALHOST, undefined, /not trusted/],
    ['another host name', CERT_FOR_OTHER_HOST, TEST_CA, /another host name/],
    ['an expired certificate', CERT_EXPIRED, TEST_CA, /has expired/],
    ['a self-signed certificate', CERT_SELF_SIGNED, undefined, /self-signed/],
  ])('a TLS error names the failed check: %s', async (_name, cert, ca, message) => {
    const channel = await secure(cert, ca);
    const error = failureOf(await channel.send(A_MESSAGE));
    expect(error.code).toBe('tls');
    expect(error.message).toMatch(message);
  });

  test('a TLS error says that the receiver speaks plain http', async () => {
    const { server, hooks } = await facing(answering('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const channel = hooks.to(`https://127.0.0.1:${server.port}`);
    const { code, message } = failureOf(await channel.send(A_MESSAGE));
    expect(code).toBe('tls');
    expect(message).toMatch(/does not speak TLS/);
  });
});
