import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

/** An HTTP proxy on loopback that opens tunnels to this machine, whatever host they name. */
export interface ConnectProxy {
  port: number;
  /** Each CONNECT, as `host:port`, with the credentials that came with it. */
  tunnels: { authority: string; authorization: string | undefined }[];
  close(): Promise<void>;
}

interface ConnectProxyOptions {
  /** The answer to each CONNECT; by default 200. */
  status?: number;
  /** Where tunnels to some `host:port` lead; others lead to the port that they name. */
  ports?: Readonly<Record<string, number>>;
}

export async function startConnectProxy({
  status = 200,
  ports = {},
}: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const tunnels: ConnectProxy['tunnels'] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  };
  const server = createServer((_request, response) => response.writeHead(400).end());
  server.on('connection', keep);
  server.on('connect', ({ url = '', headers }: IncomingMessage, client: Socket) => {
    tunnels.push({ authority: url, authorization: headers['proxy-authorization'] });
    if (status !== 200)
      return void client.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);
    const port = ports[url] ?? Number(url.slice(url.lastIndexOf(':') + 1));
    const target = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      client.pipe(target).pipe(client);
    });
    keep(target);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    tunnels,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
