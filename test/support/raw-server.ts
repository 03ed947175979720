import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A server with behaviour defined by the test, which counts connections. */
export interface RawServer {
  readonly port: number;
  readonly origin: string;
  /** Connections so far. */
  connects(): number;
  /** Connections that are open now. */
  open(): number;
  close(): Promise<void>;
}

/** Listens on loopback and calls `serve` for each connection. */
export async function listenRaw(
  serve: (socket: Socket) => void,
  { host = '127.0.0.1', port = 0 } = {},
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  let connects = 0;
  const server = createServer((socket) => {
    connects += 1;
    sockets.add(socket);
    // Clients of these tests hang up at any time; that is the point of the tests.
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    serve(socket);
  });
  return asRawServer(server, sockets, { host, port, connects: () => connects });
}

async function asRawServer(
  server: Server,
  sockets: Set<Socket>,
  { host, port, connects }: { host: string; port: number; connects: () => number },
): Promise<RawServer> {
  server.listen(port, host);
  await once(server, 'listening');
  const { port: bound } = server.address() as AddressInfo;
  return {
    port: bound,
    origin: `http://${host}:${bound}`,
    connects,
    open: () => sockets.size,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Serves one canned answer per request head, wherever the bytes are split. */
export function answering(answer: string): (socket: Socket) => void {
  return (socket) => {
    socket.once('data', () => socket.end(answer));
  };
}
