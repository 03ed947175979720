import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from '@jest/globals';
import { aWatch } from '../support/fake-services.ts';
import { startServer } from '../support/http-server.ts';
import { dial, untilRefused } from '../support/raw-http.ts';

const REQUEST = 'GET /v1/watches/r HTTP/1.1\r\nhost: localhost\r\n\r\n';

describe('closing the server', () => {
  it('a closing server does not wait for a connection without a request', async () => {
    const server = await startServer();
    const socket = await dial(server.url);
    // An answer on a later connection shows that the server has accepted the earlier one.
    await server.fetch('/livez');
    const ended = text(socket);
    await server.close();
    await ended;
  });

  it('a closing server answers a request under way, and then closes its connection', async () => {
    const server = await startServer();
    const asked = new AbortController();
    const held = new AbortController();
    server.services.watches.get = async () => {
      asked.abort();
      await once(held.signal, 'abort');
      return aWatch({ runId: 'r' });
    };
    const socket = await dial(server.url);
    const answer = text(socket);
    socket.write(REQUEST);
    await once(asked.signal, 'abort');
    const closed = server.close();
    await untilRefused(server.url);
    held.abort();
    await closed;
    expect(await answer).toMatch(/^HTTP\/1.1 200 [^]*"run_id":"r"/);
  });
});
