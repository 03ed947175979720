import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Arrival, ReceiversMessage, ReceiversOrder } from './receivers.ts';

// The process behind `startReceivers`: argument 1 is the number of endpoints, each with a port of its
// own, as endpoints are different hosts. It ends with its parent.

/** Longer than senders keep idle connections, so that this side never closes them. */
const KEEP_ALIVE_MS = 60_000;

const hanging = new Set<number>();
let arrivals: Arrival[] = [];

const servers = await Promise.all(
  Array.from({ length: Number(process.argv[2]) }, (_, endpoint) => listen(endpoint)),
);

process.on('disconnect', () => process.exit());
process.on('message', obey);
say({ kind: 'listening', urls: servers.map(urlOf) });

async function listen(endpoint: number): Promise<Server> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) =>
    receive(endpoint, request, response),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function receive(endpoint: number, request: IncomingMessage, response: ServerResponse): void {
  const at = Date.now();
  const id = request.headers['webhook-id'];
  if (typeof id === 'string') arrivals.push({ id, endpoint, at });
  request.resume();
  if (!hanging.has(endpoint)) request.on('end', () => response.writeHead(204).end());
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
