import http, { validateHeaderValue, type IncomingHttpHeaders } from 'node:http';
import https from 'node:https';
import { got, RequestError, type Request, type RequestFunction, type Response } from 'got';
import { formatDuration } from '../core/time.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { requestTarget } from '../core/request-target.ts';
import type { Deadline } from '../deadline.ts';
import { tunnelled } from '../tunnel.ts';
import { networkFailure, timedOutPhase, type Failure, type Progress } from './errors.ts';

/** How long an idle connection is kept, ms; a shorter `Keep-Alive` hint of the server wins. */
const IDLE_CONNECTION_MS = 90_000;

export interface TransportOptions {
  baseUrl: string;
  apiKey: string;
  /** Time for one call in all, ms. */
  timeoutMs: number;
  userAgent: string;
  /** Most connections at once; requests beyond it wait in line. */
  maxSockets: number;
  /** The authorities that are trusted, in PEM, in place of those that Node knows. */
  ca?: string | undefined;
  /** An HTTP proxy that all connections go through. */
  proxy?: string | undefined;
  /** False where a compressed answer would come late, as a stream of events does. */
  isCompressed?: boolean;
  /** @default 'application/json' */
  accept?: string;
}

/**
 * Takes a piece of a body, decompressed; answers false when it has had enough, which cuts the body
 * off and closes the connection under it.
 */
type TakePiece = (piece: Buffer, status: number) => boolean;

interface RequestListener {
  /** Called when the request has left this host. */
  onSent?: (() => void) | undefined;
  /** Called with status and content type, before any of the body. */
  onAnswer?: (status: number, type: string) => void;
}

export interface Transport {
  /**
   * Sends one GET and hands on the body of the answer piece by piece, for it may be too large to be
   * held. Never retries, never follows redirects: the API key goes to no other host.
   */
  get: (
    path: string,
    deadline: Deadline,
    take: TakePiece,
    listener?: RequestListener,
  ) => Promise<Reply>;
  readonly apiKey: string;
  /** Sends another API key from now on. */
  useApiKey: (apiKey: string) => void;
  /** Closes all connections. */
  close: () => void;
}

/**
 * One keep-alive connection pool with the API key. Its options are lean on purpose, for this is the
 * hot path: whatever got does beyond sending and receiving is switched off.
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function createTransport(options: TransportOptions): Transport {
  const base = parseBase(options.baseUrl);
  assertHeaderValue(options.apiKey);
  const agent =
    base.protocol === 'https:'
      ? { https: withProxy(new https.Agent(poolOf(options)), options) }
      : { http: withProxy(new http.Agent(poolOf(options)), options) };
  let { apiKey } = options;
  let client = got.extend({
    agent,
    headers: {
      'x-api-key': apiKey,
      'user-agent': options.userAgent,
      accept: options.accept ?? 'application/json',
      'accept-encoding': (options.isCompressed ?? true) ? 'gzip, br' : 'identity',
    },
    throwHttpErrors: false,
    decompress: true,
    followRedirect: false,
    retry: { limit: 0 },
    request: requestLean,
  });
  const sent = { base, timeoutMs: options.timeoutMs };

  return {
    get: (path, deadline, take, { onSent, onAnswer } = {}) => {
      const request = client.stream(base.href + path);
      if (onSent !== undefined) request.once('request', (made) => made.once('finish', onSent));
      if (onAnswer !== undefined) {
        request.once('response', ({ statusCode, headers }: Response) =>
          onAnswer(statusCode, headers['content-type'] ?? ''),
        );
      }
      return replyOf(request, { deadline, take, sent });
    },
    get apiKey() {
      return apiKey;
    },
    useApiKey(next) {
      apiKey = next;
      client = client.extend({ headers: { 'x-api-key': apiKey } });
    },
    close: () => (agent.https ?? agent.http)?.destroy(),
  };
}

function poolOf({ maxSockets, ca }: TransportOptions) {
  return {
    keepAlive: true,
    maxSockets,
    maxFreeSockets: maxSockets,
    timeout: IDLE_CONNECTION_MS,
    ...(ca !== undefined && { ca }),
  };
}

function withProxy<Agent extends http.Agent>(agent: Agent, { proxy }: TransportOptions): Agent {
  if (proxy === undefined) return agent;
  const secure = agent instanceof https.Agent;
  agent.createConnection = tunnelled(agent.createConnection.bind(agent), proxy, { secure });
  return agent;
}

/**
 * Makes a request with no more options than it needs: Node copies them several times, and copying all
 * that got offers is a fifth of what a poll costs (`bench -- poll`).
 */
const requestLean: RequestFunction = (url, { agent, headers }) =>
  clientOf(url).request({ ...requestTarget(url), agent, headers });

function clientOf({ protocol }: URL): typeof http | typeof https {
  return protocol === 'https:' ? https : http;
}

/** @returns isCut */
async function handOn(request: Request, take: TakePiece): Promise<boolean> {
  for await (const piece of request) {
    if (!take(piece as Buffer, request.response?.statusCode ?? 0)) return true;
  }
  return false;
}

async function replyOf(
  request: Request,
  { deadline, take, sent }: { deadline: Deadline; take: TakePiece; sent: Sent },
): Promise<Reply> {
  let isOver = false;
  deadline.onEnd(() => {
    isOver = true;
    request.destroy();
  });
  try {
    const isCut = await handOn(request, take);
    const { statusCode = 0, headers = {} } = request.response ?? {};
    return { kind: 'answer', status: statusCode, headers, isCut };
  } catch (error) {
    if (!isOver) return brokenReply(error, sent);
    const { statusCode = null, headers = null } = request.response ?? {};
    const failure = timedOut(request.timings, sent);
    return { kind: 'broken', status: statusCode, headers, failure };
  }
}

/** The base as a URL with a path that ends in a slash, without query and fragment. */
function parseBase(baseUrl: string): URL {
  const base = URL.canParse(baseUrl) ? new URL(baseUrl) : null;
  if (base === null || !/^https?:$/.test(base.protocol)) {
    throw new RunwatchError('the base URL of a source must be an http:// or https:// URL', {
      code: 'invalid_source',
    });
  }
  base.search = '';
  base.hash = '';
  base.pathname = base.pathname.replace(/\/*$/, '/');
  return base;
}

function assertHeaderValue(apiKey: string): void {
  try {
    validateHeaderValue('x-api-key', apiKey);
  } catch {
    throw new RunwatchError('the API key holds characters that no HTTP header can carry', {
      code: 'invalid_source',
    });
  }
}

/** A reply that broke off before its end; null stands for what had not come by then. */
interface BrokenReply {
  kind: 'broken';
  status: number | null;
  headers: IncomingHttpHeaders | null;
  failure: Failure;
}

/** What came back of one request: an answer, or the part of one before it broke off. The body is not in it. */
export type Reply =
  | {
      kind: 'answer';
      status: number;
      headers: IncomingHttpHeaders;
      /** True where not all of the body was taken. */
      isCut: boolean;
    }
  | BrokenReply;

/** Where a request went, and the milliseconds that its call might take in all. */
interface Sent {
  base: URL;
  timeoutMs: number;
}

/** The reply of a request that failed, by the error that it ended with. */
function brokenReply(error: unknown, sent: Sent): BrokenReply {
  if (!isNetworkError(error)) throw error;
  const response = error instanceof RequestError ? error.response : undefined;
  const { statusCode = null, headers = null } = response ?? {};
  const failure =
    error.code === 'proxy'
      ? { message: messageOf(error), transient: false }
      : networkFailure({ code: error.code, response }, sent.base);
  return { kind: 'broken', status: statusCode, headers, failure };
}

/**
 * From Node 24 on, a failed handshake arrives as Node's own error and not as one of got, so the class
 * of what was thrown says nothing.
 */
function isNetworkError(error: unknown): error is { code: string } {
  const hasCode = typeof error === 'object' && error !== null && 'code' in error;
  return hasCode && typeof error.code === 'string' && !(error instanceof RunwatchError);
}

/** The failure of a request that was given up because its time was over. */
function timedOut(progress: Progress | undefined, { base, timeoutMs }: Sent): Failure {
  const phase = timedOutPhase(progress, base);
  const message = `timed out after ${formatDuration(timeoutMs)} ${phase}`;
  return { message, transient: false };
}
