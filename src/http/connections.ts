import type { Socket } from 'node:net';
import { fastifyPlugin } from 'fastify-plugin';
import { closeWhole } from './node-server.ts';

interface Connection {
  /** Requests that are not answered yet. */
  requests: number;
  /** False until the first request. */
  hasAsked: boolean;
}

/**
 * Keeps account of the open connections.
 *
 * Beyond `most`, a new connection takes the place of the oldest on which nothing is in progress,
 * first of one that never sent a request: connections that only wait must not keep requests out.
 *
 * `close()` ends with the last answer. Node by itself waits for connections that were opened ahead of
 * a request, as browsers and pools do, and keeps those that served one until their idle time-out.
 */
export const connections = fastifyPlugin<{ most: number }>((app, { most }, done) => {
  const open = new Map<Socket, Connection>();
  let isClosing = false;

  app.server.on('connection', (socket) => {
    if (isClosing || !makeRoom(open, most)) return void socket.destroy();
    open.set(socket, { requests: 0, hasAsked: false });
    socket.once('close', () => open.delete(socket));
  });

  app.server.on('request', ({ socket }, response) => {
    const connection = open.get(socket);
    if (connection === undefined) return;
    connection.requests += 1;
    connection.hasAsked = true;
    response.once('close', () => {
      connection.requests -= 1;
      if (isClosing && connection.requests === 0) closeWhole(socket);
    });
  });

  app.addHook('preClose', async () => {
    isClosing = true;
    for (const [socket, { requests }] of open) {
      if (requests === 0) socket.destroy();
    }
  });

  // What is not read of a request would have to be read, and thrown away, before the next one.
  app.addHook('onSend', async (request, reply) => {
    if (!request.raw.complete) reply.header('connection', 'close');
  });
  done();
});

/** @returns false where every connection is busy */
function makeRoom(open: Map<Socket, Connection>, most: number): boolean {
  if (open.size < most) return true;
  const idle = [...open].filter(([, { requests }]) => requests === 0);
  const oldest = idle.find(([, { hasAsked }]) => !hasAsked) ?? idle[0];
  if (oldest === undefined) return false;
  const [socket] = oldest;
  open.delete(socket);
  socket.destroy();
  return true;
}
