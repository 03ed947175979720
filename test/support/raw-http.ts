import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** Sends bytes as they are, for what `fetch` would not send, and reads the answer to its end. */
export async function sendRaw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.write(bytes);
  return await text(socket);
}

/** A request whose headers are exactly these, on a connection that closes after it. */
export function rawRequest(line: string, headers: Record<string, string> = {}): string {
  const fields = Object.entries({ ...headers, connection: 'close' });
  return [`${line} HTTP/1.1`, ...fields.map(([name, value]) => `${name}: ${value}`), '', ''].join(
    '\r\n',
  );
}
