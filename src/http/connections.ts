import type { Socket } from 'node:net';
import { fastifyPlugin } from 'fastify-plugin';

/**
 * Lets `close()` end with the last answer. Node by itself waits for connections that were opened
 * ahead of a request, as browsers and pools do, and keeps those that served one until their idle
 * time-out.
 */
export const connections = fastifyPlugin((app, _options, done) => {
  /** Requests in progress on each open connection. */
  const busy = new Map<Socket, number>();
  let isClosing = false;

  app.server.on('connection', (socket) => {
    if (isClosing) socket.destroy();
    else busy.set(socket, 0);
    socket.once('close', () => busy.delete(socket));
  });

  app.server.on('request', ({ socket }, response) => {
    busy.set(socket, (busy.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const others = (busy.get(socket) ?? 1) - 1;
      if (isClosing && others === 0) socket.end();
      else if (busy.has(socket)) busy.set(socket, others);
    });
  });

  app.addHook('preClose', async () => {
    isClosing = true;
    for (const [socket, requests] of busy) {
      if (requests === 0) socket.destroy();
    }
  });
  done();
});
