import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: unknown;
}

export interface FakeAnswer {
  status: number;
  body?: unknown;
  contentType?: string;
  headers?: Record<string, string>;
}

/** `cut`: the connection breaks before an answer; `hang`: none comes. */
type Responder = (request: FakeRequest) => FakeAnswer | 'cut' | 'hang';

/** A daemon that answers as a test defines, and records its requests. */
export interface FakeDaemon {
  url: string;
  port: number;
  requests: FakeRequest[];
  /** Sets the answer to a method and path, such as `GET /v1/watches`. */
  on(route: string, responder: Responder | FakeAnswer | 'hang'): void;
  /** Sends a message to every open event stream. */
  push(id: string, event: unknown): void;
  streams(): number;
  /** Cuts the event streams off, as a dying daemon does. */
  cutStreams(): void;
  close(): Promise<void>;
}

export function problem(
  status: number,
  code: string,
  detail: string,
  errors?: unknown,
): FakeAnswer {
  return {
    status,
    body: { type: `/problems/${code}`, title: code, status, detail, code, errors },
    contentType: 'application/problem+json',
  };
}

export async function startFakeDaemon(port = 0): Promise<FakeDaemon> {
  const routes = new Map<string, Responder | 'hang'>();
  const streams = new Set<ServerResponse>();
  const requests: FakeRequest[] = [];
  const server = createServer((message, response) => {
    void serve(message, response);
  });
  const serve = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await read(message);
    requests.push(request);
    const responder = routes.get(`${request.method} ${request.path}`);
    if (responder === 'hang') return;
    if (responder === undefined && request.path === '/v1/events/stream') {
      openStream(response, streams);
    } else {
      const given = responder?.(request) ?? problem(404, 'route_not_found', 'not here');
      if (given === 'cut') response.destroy();
      else if (given !== 'hang') answer(response, given);
    }
  };
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    requests,
    on: (route, responder) =>
      void routes.set(route, typeof responder === 'object' ? () => responder : responder),
    push(id, event) {
      for (const stream of streams) stream.write(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`);
    },
    streams: () => streams.size,
    cutStreams() {
      for (const stream of streams) stream.destroy();
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function openStream(response: ServerResponse, streams: Set<ServerResponse>): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'runwatch-cursor': 'c0' });
  response.write(': hello\n');
  streams.add(response);
  response.once('close', () => streams.delete(response));
}

function answer(
  response: ServerResponse,
  { status, body, contentType = 'application/json', headers }: FakeAnswer,
): void {
  response.writeHead(status, { 'content-type': contentType, ...headers });
  response.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body));
}

async function read(message: IncomingMessage): Promise<FakeRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  const url = new URL(message.url ?? '/', 'http://fake');
  return {
    method: message.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    headers: message.headers,
    body: text === '' ? undefined : JSON.parse(text),
  };
}
