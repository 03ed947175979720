import { once } from 'node:events';
import http from 'node:http';
import type {
  ClientRequest,
  IncomingHttpHeaders,
  IncomingMessage,
  AgentOptions,
  ClientRequestArgs,
} from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type PlainResponse, type Request, type RequestFunction, got, type Got } from 'got';
import { requestTarget } from '../core/request-target.ts';
import { tunnelled } from '../tunnel.ts';
import { egressBlocked, type EgressGuard } from './egress/guard.ts';

/** The most bytes read of an answer; then the connection is closed. */
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
  /** Called right before the first byte is sent. */
  mayStart?: (() => boolean) | undefined;
  /** How much of the answer's body is kept; absent, as much as is stored. */
  headBytes?: number;
}

/** The step at which a request ended without an answer. */
export type RequestStep = 'queue' | 'dns' | 'connect' | 'tls' | 'headers';

export type PostResult =
  /** `head` is the start of the body; the rest is not needed. */
  | {
      kind: 'answered';
      status: number;
      headers: IncomingHttpHeaders;
      head: Buffer;
      /** The address that answered; undefined if unknown. */
      address: string | undefined;
    }
  | { kind: 'broken'; error: unknown; step: RequestStep; reusedSocket: boolean }
  | { kind: 'cut'; step: RequestStep }
  /** `mayStart` returned false. */
  | { kind: 'withheld' };

/**
 * Sends one request over the guarded agents and reads a bounded part of its answer.
 * @param cut ends the request. After the status has arrived that is no error: a receiver that answers
 *   200 and is slow with the body has answered 200.
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
    const { statusCode, headers, ip } = response;
    const address = agents.isProxied ? undefined : ip;
    const head = await readHead(stream, cut, request.headBytes);
    return { kind: 'answered', status: statusCode, headers, head, address };
  } catch (error) {
    const step = stepOf(stream, request.url, agents);
    if (isWithheld?.() === true) return { kind: 'withheld' };
    if (cut.aborted) return { kind: 'cut', step };
    return { kind: 'broken', error, step, reusedSocket: stream.reusedSocket === true };
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
  // Errors are handled where the request is awaited; a later one must not end the process.
  stream.on('error', () => undefined);
  // After 101 neither the agent nor the request closes the socket.
  stream.once('upgrade', (_response: IncomingMessage, socket: Socket) => {
    socket.destroy();
    stream.destroy(protocolError('the receiver switched protocols'));
  });
  return stream;
}

/**
 * Destroys the request if it may not start when its first byte would be sent: a process can be frozen at
 * any step before.
 * @returns a function that says whether it did
 */
function holdBack(stream: Request, { protocol }: URL, mayStart: () => boolean): () => boolean {
  let isWithheld = false;
  const check = () => {
    if (mayStart()) return;
    isWithheld = true;
    stream.destroy(new Error('it may not start any more'));
  };
  const connected = protocol === 'https:' ? 'secureConnect' : 'connect';
  // `socket` comes before the request writes to it; a connecting socket writes once it is connected.
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

/** Reads to the end, so that the connection can be reused, or to the limit. */
async function readHead(
  stream: Request,
  cut: AbortSignal,
  most = RESPONSE_TEXT_BYTES,
): Promise<Buffer> {
  const stop = () => stream.destroy();
  cut.addEventListener('abort', stop);
  const kept: Buffer[] = [];
  let read = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (read < most) kept.push(chunk.subarray(0, most - read));
      read += chunk.length;
      if (read >= MAX_BODY_BYTES) break;
    }
    return Buffer.concat(kept);
  } catch {
    // The status has arrived; only text for display is missing.
    return Buffer.concat(kept);
  } finally {
    cut.removeEventListener('abort', stop);
  }
}

function stepOf(
  { timings, reusedSocket }: Request,
  url: URL,
  { isProxied }: Pick<WebhookAgents, 'isProxied'>,
): RequestStep {
  if (timings?.socket === undefined) return isProxied ? 'connect' : 'queue';
  if (reusedSocket === true) return 'headers';
  if (timings.connect === undefined) return timings.lookup === undefined ? 'dns' : 'connect';
  return url.protocol === 'https:' && timings.secureConnect === undefined ? 'tls' : 'headers';
}

/** The connections of all webhooks, kept alive and shared by every channel to the same origin. */
export interface WebhookAgents {
  readonly http: http.Agent;
  readonly https: https.Agent;
  /** The receiver's address is unknown then. */
  readonly isProxied: boolean;
  /** Sends over them, without redirects, decompression or retries. */
  readonly client: Got;
  /** Sends a GET and reads no more of its answer than the status. */
  get(url: string, timeoutMs: number): Promise<number>;
  /** Closes every connection, also those in use: drain first. */
  close(): void;
}

const MAX_HEADER_BYTES = 16_384;

/**
 * Limits per origin. Idle connections close before common servers close them (5 s). One is kept per slot
 * of a receiver, since a new connection costs a third of an attempt.
 */
const LIMITS: AgentOptions = {
  keepAlive: true,
  maxSockets: 1_024,
  maxFreeSockets: 128,
  timeout: 4_000,
};

/**
 * Agents that check each connection with the guard right before they open it: no request can bypass it.
 * With a proxy the guard judges names and literal addresses, since the proxy resolves the names. Proxy
 * settings of the environment are not used.
 */
export function createWebhookAgents(
  guard: EgressGuard,
  { limits = LIMITS, proxy }: { limits?: AgentOptions; proxy?: string | undefined } = {},
): WebhookAgents {
  const agents = { http: new http.Agent(limits), https: new https.Agent(limits) };
  guardConnections(agents.http, { guard, proxy, secure: false });
  guardConnections(agents.https, { guard, proxy, secure: true });
  const client = got.extend({
    agent: agents,
    followRedirect: false,
    decompress: false,
    throwHttpErrors: false,
    retry: { limit: 0 },
    request: requestLean,
  });
  return {
    ...agents,
    isProxied: proxy !== undefined,
    client,
    async get(url, timeoutMs) {
      const stream = client.stream.get(url).on('error', ignore);
      try {
        const signal = AbortSignal.timeout(timeoutMs);
        const [response] = (await once(stream, 'response', { signal })) as [PlainResponse];
        return response.statusCode;
      } finally {
        stream.destroy();
      }
    },
    close() {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

const ignore = () => undefined;

/** Makes a request with no more options than it needs: Node copies them several times. */
const requestLean: RequestFunction = (url, { agent, method, headers, ca, cert, key }) => {
  const options = {
    ...requestTarget(url),
    agent,
    method,
    headers,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  if (url.protocol === 'http:') return http.request(options);
  return https.request({ ...options, ca, cert, key });
};

/** As Node calls it: with an error there is no socket, which its type omits. */
type OnCreate = (error: Error | null, socket?: Duplex) => void;

/** `lookup` alone is not enough: Node does not call it for a host that is an address. */
function guardConnections(
  agent: http.Agent,
  { guard, proxy, secure }: { guard: EgressGuard; proxy: string | undefined; secure: boolean },
): void {
  const own = agent.createConnection.bind(agent);
  const connect = proxy === undefined ? own : tunnelled(own, proxy, { secure });
  agent.createConnection = (options: ClientRequestArgs, callback) => {
    const target = { secure, host: options.host ?? '', port: Number(options.port) };
    const verdict = guard.checkTarget(target);
    if (verdict.allowed) return connect({ ...options, lookup: guard.lookup(target) }, callback);
    (callback as OnCreate | undefined)?.(egressBlocked(verdict.message));
    return null;
  };
}

/** How much of an answer is stored, for display. */
const RESPONSE_TEXT_BYTES = 1_024;

/**
 * Control characters except tab and line feed, and marks that reorder text. Printed, they could move a
 * terminal's cursor or reverse a log line.
 */
const UNPRINTABLE = /[^\P{Cc}\t\n]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

const REDACTED = '[redacted]';

/** A shorter value is no credential, and would match ordinary words. */
const LEAST_SECRET_LENGTH = 8;

/**
 * The start of an answer as harmless text of at most 1 KiB of its bytes.
 * @param sent credentials of the request, which a receiver may repeat; they are redacted
 */
export function responseText(head: Uint8Array, sent: readonly string[] = []): string {
  if (head.length === 0) return '';
  const bytes = head.subarray(0, RESPONSE_TEXT_BYTES);
  // `stream` leaves off a character that the cut goes through.
  const text = new TextDecoder().decode(bytes, { stream: true });
  return credentialsIn(sent)
    .reduce(withoutSecret, text)
    .replaceAll('\r\n', '\n')
    .replace(UNPRINTABLE, '\ufffd');
}

/** Each value, and the part after a scheme such as `Bearer`. */
function credentialsIn(values: readonly string[]): string[] {
  return values
    .flatMap((value) => [value, value.slice(value.indexOf(' ') + 1)])
    .filter((value) => value.length >= LEAST_SECRET_LENGTH);
}

function withoutSecret(text: string, secret: string): string {
  const clean = text.replaceAll(secret, REDACTED);
  // The cut may have gone through one.
  for (let length = secret.length - 1; length >= LEAST_SECRET_LENGTH; length -= 1) {
    if (clean.endsWith(secret.slice(0, length))) return clean.slice(0, -length) + REDACTED;
  }
  return clean;
}
