import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';

/** Opens a connection that remains half open when the server ends it. */
export async function dial(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  // A reset is one of the ends for which a test may wait.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Reads until the peer ends, and keeps this side half open. */
export async function readToEnd(socket: Socket): Promise<string> {
  let read = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (read += chunk));
  await once(socket, 'end');
  return read;
}

/** Resolves once connections are refused. */
export async function untilRefused(url: string): Promise<void> {
  for (;;) {
    const socket = await dial(url).catch(() => null);
    if (socket === null) return;
    socket.destroy();
  }
}

/** Sends raw bytes that `fetch` would not send, and reads the whole answer. */
export async function sendRaw(url: string, bytes: string, localAddress?: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({
    host: hostname,
    port: Number(port),
    ...(localAddress && { localAddress }),
  });
  socket.write(bytes);
  return await text(socket);
}

/** A request with exactly these headers, on a connection that closes after it. */
export function rawRequest(line: string, headers: Record<string, string> = {}): string {
  const fields = Object.entries({ ...headers, connection: 'close' });
  return [`${line} HTTP/1.1`, ...fields.map(([name, value]) => `${name}: ${value}`), '', ''].join(
    '\r\n',
  );
}
