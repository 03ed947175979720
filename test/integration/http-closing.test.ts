import { connect } from 'node:net';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from '@jest/globals';
import { aWatch } from '../support/fake-services.ts';
import { startServer } from '../support/http-server.ts';

const REQUEST = 'GET /v1/watches/r HTTP/1.1\r\nhost: localhost\r\n\r\n';

function dial(url: string) {
  const { hostname, port } = new URL(url);
  return connect({ host: hostname, port: Number(port) });
}

/** Resolves once no connection is taken any more. */
async function refusal(url: string): Promise<void> {
  for (;;) {
    const socket = dial(url);
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (!isOpen) return;
  }
}

describe('closing the server', () => {
  it('does not wait for a connection on which nothing was asked', async () => {
    const server = await startServer();
    const socket = dial(server.url);
    await once(socket, 'connect');
    // An answer on a later connection tells that the server has accepted the earlier one.
    await server.fetch('/livez');
    const ended = once(socket, 'close');
    await server.close();
    await ended;
  });

  it('sends the answer to what was asked before, and then closes that connection', async () => {
    const server = await startServer();
    const asked = new AbortController();
    const held = new AbortController();
    server.services.watches.get = async () => {
      asked.abort();
      await once(held.signal, 'abort');
      return aWatch({ runId: 'r' });
    };
    const socket = dial(server.url);
    const answer = text(socket);
    socket.write(REQUEST);
    await once(asked.signal, 'abort');
    const closed = server.close();
    await refusal(server.url);
    held.abort();
    await closed;
    expect(await answer).toMatch(/^HTTP\/1.1 200 [^]*"run_id":"r"/);
  });
});
