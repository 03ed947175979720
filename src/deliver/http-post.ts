import { once } from 'node:events';
import http from 'node:http';
import type {
  ClientRequest,
  IncomingHttpHeaders,
  IncomingMessage,
  AgentOptions,
  ClientRequestArgs,
  RequestOptions,
} from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { credentialsIn, LEAST_CREDENTIAL, REDACTED } from '../core/credentials.ts';
import type { RequestPhases } from '../core/delivery/delivery.ts';
import type { TlsOptions } from '../core/tls.ts';
import { cutRequest, requestTarget, tunnelled } from '../proxy-tunnel.ts';
import type { Deadline } from '../deadline.ts';
import { Names } from '../names.ts';
import type { Process } from '../process.ts';
import { createEndpointGuard, egressBlocked, type EgressGuard } from './egress/egress-guard.ts';

/** The most bytes read of an answer; then the connection is closed. */
const MAX_BODY_BYTES = 16_384;

export interface PostRequest {
  url: URL;
  headers: Record<string, string>;
  body: string;
  tls?: TlsOptions | undefined;
  /** Called right before the first byte is sent. */
  mayStart?: (() => boolean) | undefined;
  /** How much of the answer's body is kept; absent, as much as is stored. */
  headBytes?: number;
  /** How long the body is waited for once the status is there, ms; absent, until the deadline. */
  bodyMs?: number;
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
      phases: RequestPhases;
    }
  | {
      kind: 'broken';
      error: unknown;
      step: RequestStep;
      reusedSocket: boolean;
      phases: RequestPhases;
    }
  | { kind: 'cut'; step: RequestStep; phases: RequestPhases }
  /** `mayStart` returned false. */
  | { kind: 'withheld' };

/**
 * Sends one request over the guarded agents and reads a bounded part of its answer. It uses Node's own
 * client. got takes two and a half times as long (`npm run bench -- deliver`), and all that it adds
 * would be switched off here.
 * @param deadline ends the request. After the status has arrived that is no error: a receiver that answers
 *   200 and is slow with the body has answered 200.
 */
export async function post(
  request: PostRequest,
  agents: WebhookAgents,
  deadline: Deadline,
): Promise<PostResult> {
  const progress: Progress = {
    step: agents.isProxied ? 'connect' : 'queue',
    isWithheld: false,
    isCut: false,
    startedAt: performance.now(),
    sentAt: null,
    answeredAt: null,
  };
  let sending: ClientRequest | undefined;
  try {
    const { url, headers, body, tls } = request;
    const sized = { ...headers, 'content-length': String(Buffer.byteLength(body)) };
    sending = open('POST', { url, headers: sized, tls }, agents);
    follow(sending, request, progress);
    deadline.onEnd(() => {
      progress.isCut = true;
      if (sending !== undefined) cutRequest(sending);
    });
    const response = await responseTo(sending, body);
    progress.answeredAt = performance.now();
    const address = agents.isProxied ? undefined : response.socket.remoteAddress;
    const head = await readHead(response, request);
    return {
      kind: 'answered',
      status: response.statusCode ?? 0,
      headers: response.headers,
      head,
      address,
      phases: phasesOf(progress, sending.reusedSocket),
    };
  } catch (error) {
    const { step, isWithheld, isCut } = progress;
    if (isWithheld) return { kind: 'withheld' };
    const reusedSocket = sending?.reusedSocket === true;
    const phases = phasesOf(progress, reusedSocket);
    if (isCut) return { kind: 'cut', step, phases };
    return { kind: 'broken', error, step, reusedSocket, phases };
  } finally {
    // A connection that is kept alive is no longer the request's by now.
    sending?.destroy();
  }
}

/** How far a request has come. */
interface Progress {
  step: RequestStep;
  /** `mayStart` returned false. */
  isWithheld: boolean;
  /** The deadline ended it. */
  isCut: boolean;
  /** Times of the monotonic clock; null before. */
  startedAt: number;
  sentAt: number | null;
  answeredAt: number | null;
}

/** How long each part took until now; their sum is the whole, rounded. */
function phasesOf({ startedAt, sentAt, answeredAt }: Progress, isReused: boolean): RequestPhases {
  const sinceStart = (time: number) => Math.round(time - startedAt);
  const ended = sinceStart(performance.now());
  if (sentAt === null) return [ended];
  const connect = isReused ? null : sinceStart(sentAt);
  const sent = connect ?? 0;
  if (answeredAt === null) return [connect, ended - sent];
  const answered = sinceStart(answeredAt);
  return [connect, answered - sent, ended - answered];
}

function open(
  method: 'GET' | 'POST',
  { url, headers, tls }: Pick<PostRequest, 'url' | 'headers' | 'tls'>,
  agents: Pick<WebhookAgents, 'http' | 'https'>,
): ClientRequest {
  const { protocol, hostname: host, port, path } = requestTarget(url);
  const isSecure = protocol === 'https:';
  const agent = isSecure ? agents.https : agents.http;
  // No more than it needs: Node copies all of them several times.
  const options: RequestOptions = {
    host,
    port,
    path,
    method,
    headers: listed(url, headers),
    maxHeaderSize: MAX_HEADER_BYTES,
    agent,
  };
  if (!isSecure) return http.request(options);
  const { ca, certificate: cert, key } = tls ?? {};
  return https.request({ ...options, ca, cert, key });
}

/** Headers as a list, which Node writes as it is: setting each by its name takes a fifth of a request. */
function listed(url: URL, headers: Record<string, string>): string[] {
  const list = ['host', url.host];
  const given = headers['authorization'] === undefined ? authorizationIn(url) : {};
  for (const part of [given, headers]) {
    for (const [name, value] of Object.entries(part)) list.push(name, value);
  }
  return list;
}

/** Credentials in a URL are those of basic authentication. */
export function authorizationIn({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/**
 * Notes how far a request has come, and destroys it if it may not start when its first byte would be
 * sent. A process can be frozen at any step before.
 */
function follow(sending: ClientRequest, { url, mayStart }: PostRequest, progress: Progress): void {
  const start = () => {
    progress.step = 'headers';
    progress.sentAt = performance.now();
    if (mayStart === undefined || mayStart()) return;
    progress.isWithheld = true;
    sending.destroy(new Error('it may not start any more'));
  };
  // `socket` comes before the request writes to it; a connecting socket writes once it is connected.
  sending.once('socket', (socket) => {
    if (!socket.connecting) return start();
    const isSecure = url.protocol === 'https:';
    progress.step = isIP(requestTarget(url).hostname) === 0 ? 'dns' : 'connect';
    socket.once('lookup', () => (progress.step = 'connect'));
    if (isSecure) socket.once('connect', () => (progress.step = 'tls'));
    socket.once(isSecure ? 'secureConnect' : 'connect', start);
  });
}

/** Sends the body. @returns the answer as soon as its headers have arrived */
function responseTo(sending: ClientRequest, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // An error after the answer is heard too: it must not end the process.
    sending.on('error', reject);
    let isAnswered = false;
    sending.once('response', (response) => {
      isAnswered = true;
      resolve(response);
    });
    // After 101 neither the agent nor the request closes the socket.
    sending.once('upgrade', (_response, socket) => {
      socket.destroy();
      reject(protocolError('the receiver switched protocols'));
    });
    sending.once('close', () => {
      if (!isAnswered) reject(new Error('the request ended without an answer'));
    });
    sending.end(body);
  });
}

function protocolError(message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_PROTOCOL_SWITCHED' });
}

/** Reads to the end, so that the connection can be reused, or to the limits. */
function readHead(
  response: IncomingMessage,
  { headBytes: most = RESPONSE_TEXT_BYTES, bodyMs }: Pick<PostRequest, 'headBytes' | 'bodyMs'>,
): Promise<Buffer> {
  return new Promise((resolve) => {
    const kept: Buffer[] = [];
    let read = 0;
    // The status has arrived; where the connection breaks, only text for display is missing.
    const finish = () => {
      clearTimeout(timer);
      resolve(Buffer.concat(kept));
    };
    const timer = bodyMs === undefined ? undefined : setTimeout(finish, bodyMs);
    response.on('data', (chunk: Buffer) => {
      if (read < most) kept.push(chunk.subarray(0, most - read));
      read += chunk.length;
      if (read >= MAX_BODY_BYTES) finish();
    });
    response.on('end', finish).on('error', finish).on('close', finish);
  });
}

/** The connections of all webhooks, kept alive and shared by every channel to the same origin. */
export interface WebhookAgents {
  readonly http: http.Agent;
  readonly https: https.Agent;
  /** The receiver's address is unknown then. */
  readonly isProxied: boolean;
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
  { proxy, names = new Names() }: { proxy?: string | undefined; names?: Names | undefined } = {},
): WebhookAgents {
  const agents = { http: new http.Agent(LIMITS), https: new https.Agent(LIMITS) };
  guardConnections(agents.http, { guard, proxy, names, secure: false });
  guardConnections(agents.https, { guard, proxy, names, secure: true });
  return {
    ...agents,
    isProxied: proxy !== undefined,
    async get(url, timeoutMs) {
      const asking = open('GET', { url: new URL(url), headers: {} }, agents).on('error', ignore);
      asking.end();
      try {
        const signal = AbortSignal.timeout(timeoutMs);
        const [response] = (await once(asking, 'response', { signal })) as [IncomingMessage];
        return response.statusCode ?? 0;
      } finally {
        asking.destroy();
      }
    },
    close() {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

/** Connections for configured endpoints, and for webhooks that came with a watch, each with its egress guard. */
export class Agents {
  readonly configured: WebhookAgents;
  readonly perWatch: WebhookAgents;

  constructor({ config, log, names }: Process, perWatchGuard: EgressGuard) {
    const { proxy } = config.egress;
    const guard = createEndpointGuard({ resolve: names.ofReceiver });
    this.configured = createWebhookAgents(guard, { proxy, names });
    this.perWatch = createWebhookAgents(perWatchGuard, { proxy, names });
    if (proxy === undefined) return;
    const what =
      'webhooks go through a proxy, which resolves their names: the egress guard judges names and literal addresses, so limit at the proxy which addresses it may reach';
    log.info({ proxy: new URL(proxy).host }, what);
  }

  close(): void {
    this.configured.close();
    this.perWatch.close();
  }
}

const ignore = () => undefined;

/** As Node calls it: with an error there is no socket, which its type omits. */
type OnCreate = (error: Error | null, socket?: Duplex) => void;

interface Guarded {
  guard: EgressGuard;
  proxy: string | undefined;
  names: Names;
  secure: boolean;
}

/** `lookup` alone is not enough: Node does not call it for a host that is an address. */
function guardConnections(agent: http.Agent, { guard, proxy, names, secure }: Guarded): void {
  const own = agent.createConnection.bind(agent);
  const connect = proxy === undefined ? own : tunnelled(own, proxy, { secure, names });
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

function withoutSecret(text: string, secret: string): string {
  const clean = text.replaceAll(secret, REDACTED);
  // The cut may have gone through one.
  for (let length = secret.length - 1; length >= LEAST_CREDENTIAL; length -= 1) {
    if (clean.endsWith(secret.slice(0, length))) return clean.slice(0, -length) + REDACTED;
  }
  return clean;
}
