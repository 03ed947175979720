import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RunwatchError, messageOf } from '../core/errors.ts';

/** The largest body that simulator and receiver accept. */
export const MAX_BODY_BYTES = 1_048_576;

/** Longer than any client's, so that the server never closes a connection under a request, ms. */
const KEEP_ALIVE_MS = 120_000;

/** The only hosts that test servers listen on. */
export type LoopbackHost = '127.0.0.1' | '::1';

export interface Answer {
  status: number;
  body: string;
  headers?: Record<string, string> | undefined;
}

export type Body = { kind: 'body'; bytes: Buffer } | { kind: 'too_large' } | { kind: 'aborted' };

/**
 * Listens on the loopback interface.
 * @param options `port` 0 takes any free one
 * @returns the base URL, without a slash at its end
 * @throws RunwatchError `port_in_use`, `cannot_listen`
 */
export async function listenOnLoopback(
  server: Server,
  { port, host }: { port: number; host: LoopbackHost },
): Promise<string> {
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => {
      reject(cannotListen(error, port, host));
    };
    server.once('error', failed);
    server.listen({ port, host }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  const { port: taken } = server.address() as AddressInfo;
  return `http://${host === '::1' ? '[::1]' : host}:${taken}`;
}

function cannotListen(error: NodeJS.ErrnoException, port: number, host: string): RunwatchError {
  return error.code === 'EADDRINUSE'
    ? new RunwatchError(
        `port ${port} on ${host} is in use by another process; choose another one, or 0 for any that is free`,
        { code: 'port_in_use', cause: error },
      )
    : new RunwatchError(`cannot listen on port ${port} of ${host}: ${messageOf(error)}`, {
        code: 'cannot_listen',
        cause: error,
      });
}

/** Stops a server and closes every connection, even during a request. */
export async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  server.closeAllConnections();
  await closed;
}

/** Sends an answer; a 204 has neither body nor a length. */
export function send(response: ServerResponse, answer: Answer): void {
  if (answer.status === 204) {
    response.writeHead(204, answer.headers).end();
    return;
  }
  response.writeHead(answer.status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(answer.body),
    ...answer.headers,
  });
  response.end(answer.body);
}

/** Reads a body of at most {@link MAX_BODY_BYTES}, and discards the rest. */
export async function readBody(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = [];
  let length = 0;
  return new Promise((resolve) => {
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= MAX_BODY_BYTES) {
        chunks.push(chunk);
      } else {
        chunks.length = 0;
        resolve({ kind: 'too_large' });
      }
    });
    request.on('end', () => {
      resolve({ kind: 'body', bytes: Buffer.concat(chunks) });
    });
    request.on('error', () => {
      resolve({ kind: 'aborted' });
    });
    request.on('close', () => {
      resolve({ kind: 'aborted' });
    });
  });
}

/** Waits. @returns false at once if the client has disconnected */
export async function pause(response: ServerResponse, ms: number): Promise<boolean> {
  if (response.closed) return false;
  return new Promise((resolve) => {
    const gone = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      response.off('close', gone);
      resolve(true);
    }, ms);
    response.once('close', gone);
  });
}
