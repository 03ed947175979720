import { once } from 'node:events';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { PlainResponse, Request } from 'got';
import { RESPONSE_TEXT_BYTES } from './response-text.ts';
import type { WebhookAgents } from './webhook-agents.ts';

/** What of an answer is read: more of it is cut off by closing the connection. */
const MAX_BODY_BYTES = 16_384;

/** Trust and identity of a TLS connection, in PEM. */
export interface TlsOptions {
  ca?: string;
  certificate?: string;
  key?: string;
}

export interface PostRequest {
  url: URL;
  headers: Record<string, string>;
  body: string;
  tls?: TlsOptions | undefined;
  /** Asked right before the first byte goes out. */
  mayStart?: (() => boolean) | undefined;
}

/** Where a request stood when it ended without an answer. */
export type Phase = 'queue' | 'dns' | 'connect' | 'tls' | 'headers';

export type PostResult =
  /** `head` is the start of the body; whether the rest comes does not matter. */
  | {
      kind: 'answered';
      status: number;
      headers: IncomingHttpHeaders;
      head: Buffer;
      /** The address that answered; undefined where it is not known. */
      address: string | undefined;
    }
  | { kind: 'broken'; error: unknown; phase: Phase; reusedSocket: boolean }
  | { kind: 'cut'; phase: Phase }
  /** It might not start any more. */
  | { kind: 'withheld' };

/**
 * Sends one request over the guarded agents and reads a bounded part of its answer.
 * @param cut ends the request. Once the status is there that is no error: the answer is complete
 * enough, and a receiver that says 200 and then dawdles over the body has still said 200.
 */
export async function post(
  request: PostRequest,
  agents: WebhookAgents,
  cut: AbortSignal,
): Promise<PostResult> {
  const stream = start(request, agents);
  const isWithheld = request.mayStart && holdBack(stream, request.url, request.mayStart);
  try {
    const [response] = (await once(stream, 'response', { signal: cut })) as [PlainResponse];
    const { statusCode, headers, ip: address } = response;
    const head = await readHead(stream, cut);
    return { kind: 'answered', status: statusCode, headers, head, address };
  } catch (error) {
    const phase = phaseOf(stream, request.url);
    if (isWithheld?.() === true) return { kind: 'withheld' };
    if (cut.aborted) return { kind: 'cut', phase };
    return { kind: 'broken', error, phase, reusedSocket: stream.reusedSocket === true };
  } finally {
    stream.destroy();
  }
}

function start({ url, headers, body, tls }: PostRequest, agents: WebhookAgents): Request {
  const stream = agents.client.stream.post(url, {
    headers,
    body,
    ...(tls !== undefined && { https: httpsOptions(tls) }),
  });
  // Errors are awaited where they matter; after that a late one must not end the process.
  stream.on('error', () => undefined);
  // After 101 the socket is nobody's: neither the agent nor the request would ever close it.
  stream.once('upgrade', (_response: IncomingMessage, socket: Socket) => {
    socket.destroy();
    stream.destroy(protocolError('the receiver switched protocols'));
  });
  return stream;
}

/**
 * Destroys the request where it may not start any more at the moment when its bytes would go out: a
 * process can be frozen at any step before.
 * @returns whether it did
 */
function holdBack(stream: Request, { protocol }: URL, mayStart: () => boolean): () => boolean {
  let isWithheld = false;
  const check = () => {
    if (mayStart()) return;
    isWithheld = true;
    stream.destroy(new Error('it may not start any more'));
  };
  const connected = protocol === 'https:' ? 'secureConnect' : 'connect';
  // A request tells of its socket before it writes to it, and a socket that connects writes after that.
  stream.once('request', (request: ClientRequest) => {
    request.once('socket', (socket) => {
      if (socket.connecting) socket.once(connected, check);
      else check();
    });
  });
  return () => isWithheld;
}

function httpsOptions({ ca, certificate, key }: TlsOptions) {
  return {
    ...(ca !== undefined && { certificateAuthority: ca }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
  };
}

function protocolError(message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_PROTOCOL_SWITCHED' });
}

/** Reads to the end, so that the connection can be used again, or to the limit. */
async function readHead(stream: Request, cut: AbortSignal): Promise<Buffer> {
  const stop = () => stream.destroy();
  cut.addEventListener('abort', stop);
  const kept: Buffer[] = [];
  let read = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (read < RESPONSE_TEXT_BYTES) kept.push(chunk.subarray(0, RESPONSE_TEXT_BYTES - read));
      read += chunk.length;
      if (read >= MAX_BODY_BYTES) break;
    }
    return Buffer.concat(kept);
  } catch {
    // The status has been said; what is missing is only text for people.
    return Buffer.concat(kept);
  } finally {
    cut.removeEventListener('abort', stop);
  }
}

function phaseOf({ timings, reusedSocket }: Request, url: URL): Phase {
  if (timings?.socket === undefined) return 'queue';
  if (reusedSocket === true) return 'headers';
  if (timings.connect === undefined) return timings.lookup === undefined ? 'dns' : 'connect';
  return url.protocol === 'https:' && timings.secureConnect === undefined ? 'tls' : 'headers';
}
