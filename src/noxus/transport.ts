import http, { validateHeaderValue } from 'node:http';
import https from 'node:https';
import { got, type Request, type RequestFunction } from 'got';
import { RunwatchError } from '../core/errors.ts';
import { requestTarget } from '../core/request-target.ts';
import type { Deadline } from './deadline.ts';
import { brokenReply, timedOut, type Reply, type Sent } from './reply.ts';

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
  /** False where a compressed answer would come late, as a stream of events does. */
  isCompressed?: boolean;
}

/**
 * Takes a piece of a body, decompressed; answers false when it has had enough, which cuts the body
 * off and closes the connection under it.
 */
type TakePiece = (piece: Buffer, status: number) => boolean;

export interface Transport {
  /**
   * Sends one GET and hands on the body of the answer piece by piece, for it may be too large to be
   * held. Never retries, never follows redirects: the API key goes to no other host.
   * @param onSent called when the request has left this host
   */
  get: (path: string, deadline: Deadline, take: TakePiece, onSent?: () => void) => Promise<Reply>;
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
  const pool = {
    keepAlive: true,
    maxSockets: options.maxSockets,
    maxFreeSockets: options.maxSockets,
    timeout: IDLE_CONNECTION_MS,
  };
  const agent =
    base.protocol === 'https:' ? { https: new https.Agent(pool) } : { http: new http.Agent(pool) };
  const client = got.extend({
    agent,
    headers: {
      'x-api-key': options.apiKey,
      'user-agent': options.userAgent,
      accept: 'application/json',
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
    get: (path, deadline, take, onSent) => {
      const request = client.stream(base.href + path);
      if (onSent !== undefined) request.once('request', (made) => made.once('finish', onSent));
      return replyOf(request, { deadline, take, sent });
    },
    close: () => (agent.https ?? agent.http)?.destroy(),
  };
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

/** The base as a URL whose path ends in a slash, without query and fragment. */
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
