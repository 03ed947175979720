import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Arrival, ReceiversMessage, ReceiversOrder } from './receivers.ts';

// The process behind `startReceivers`: argument 1 is the number of endpoints, each with a port of its
// own, as endpoints are different hosts. It ends with its parent. It answers over plain sockets: a
// server of `node:http` would take more of the cores that the daemon and Redis need.

const ANSWER = 'HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=60\r\n\r\n';

const hanging = new Set<number>();
let arrivals: Arrival[] = [];

const servers = await Promise.all(
  Array.from({ length: Number(process.argv[2]) }, (_, endpoint) => listen(endpoint)),
);

process.on('disconnect', () => process.exit());
process.on('message', obey);
say({ kind: 'listening', urls: servers.map(urlOf) });

async function listen(endpoint: number): Promise<Server> {
  const server = createServer({ noDelay: true }, (socket) => serve(endpoint, socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** Answers each request of a connection once its body has arrived. */
function serve(endpoint: number, socket: Socket): void {
  let pending = '';
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.on('data', (text: string) => {
    pending += text;
    for (let length = lengthOf(pending); length !== null; length = lengthOf(pending)) {
      const id = headerOf(pending, 'webhook-id');
      if (id !== null) arrivals.push({ id, endpoint, at: Date.now() });
      pending = pending.slice(length);
      if (!hanging.has(endpoint)) socket.write(ANSWER);
    }
  });
}

/** How long the first request is; null while the end of it has not arrived. */
function lengthOf(text: string): number | null {
  const head = text.indexOf('\r\n\r\n');
  if (head === -1) return null;
  const length = head + 4 + Number(headerOf(text, 'content-length') ?? 0);
  return text.length < length ? null : length;
}

/** The value of a header in the head of the first request. */
function headerOf(text: string, name: string): string | null {
  const at = text.indexOf(`\r\n${name}: `);
  if (at === -1) return null;
  const from = at + name.length + 4;
  return text.slice(from, text.indexOf('\r\n', from));
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
}

function obey(order: ReceiversOrder): void {
  switch (order.kind) {
    case 'hang':
      for (const endpoint of order.endpoints) hanging.add(endpoint);
      say({ kind: 'hanging' });
      return;
    case 'take':
      say({ kind: 'arrivals', arrivals });
      arrivals = [];
  }
}

function say(message: ReceiversMessage): void {
  process.send?.(message);
}
