import { Agent as HttpAgent, validateHeaderValue } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { got, type Progress, type Request } from 'got';
import { RunwatchError } from '../core/errors.ts';
import type { Deadline } from './deadline.ts';
import type { Failure } from './failure.ts';
import { brokenReply, timedOut, type Reply, type Sent, type StreamReply } from './reply.ts';

/** Largest response body that is read, 1 MiB: a run takes a few KiB, or more with a large input. */
export const MAX_BODY_BYTES = 1_048_576;

/** How long an idle connection is kept, ms; a shorter `Keep-Alive` hint of the server wins. */
const IDLE_CONNECTION_MS = 90_000;

const TOO_LARGE: Failure = {
  reason: 'too_large',
  message: `the answer is larger than ${MAX_BODY_BYTES} bytes`,
  transient: false,
};

export interface TransportOptions {
  baseUrl: string;
  apiKey: string;
  /** Time for one call in all, ms. */
  timeoutMs: number;
  userAgent: string;
  /** Most connections at once; requests beyond it wait in line. */
  maxSockets: number;
}

/** Takes a piece of a body; answers false when it has had enough, which cuts the body off. */
type TakePiece = (piece: Buffer) => boolean;

export interface Transport {
  /** Sends one GET. Never retries, never follows redirects: the API key goes to no other host. */
  get: (path: string, deadline: Deadline) => Promise<Reply>;
  /**
   * {@link Transport.get} for answers that are too large to be held: the body of a 200 is handed on
   * piece by piece, and that of any other status is not read.
   */
  stream: (path: string, deadline: Deadline, take: TakePiece) => Promise<StreamReply>;
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
    base.protocol === 'https:' ? { https: new HttpsAgent(pool) } : { http: new HttpAgent(pool) };
  const client = got.extend({
    agent,
    headers: {
      'x-api-key': options.apiKey,
      'user-agent': options.userAgent,
      accept: 'application/json',
      'accept-encoding': 'identity',
    },
    throwHttpErrors: false,
    decompress: false,
    followRedirect: false,
    retry: { limit: 0 },
    responseType: 'buffer',
  });
  const sent = { base, timeoutMs: options.timeoutMs };

  return {
    get: async (path, deadline) => {
      let isTooLarge = false;
      const request = client(base.href + path).on('downloadProgress', (progress) => {
        if (!exceedsLimit(progress)) return;
        isTooLarge = true;
        request.cancel();
      });
      deadline.onEnd(() => request.cancel());
      try {
        const { statusCode, headers, rawBody } = await request;
        return { kind: 'answer', status: statusCode, headers, body: rawBody };
      } catch (error) {
        const broken = brokenReply(error, sent);
        return isTooLarge ? { ...broken, failure: TOO_LARGE } : broken;
      }
    },
    stream: (path, deadline, take) =>
      streamReply(client.stream(base.href + path), { deadline, take, sent }),
    close: () => (agent.https ?? agent.http)?.destroy(),
  };
}

/** By the length that the server announces, before the body is read; else by what has come in. */
function exceedsLimit({ transferred, total }: Progress): boolean {
  return transferred > MAX_BODY_BYTES || (total ?? 0) > MAX_BODY_BYTES;
}

/** Hands on the body of a 200; closes the connection under what is not taken. @returns isCut */
async function handOn(request: Request, take: TakePiece): Promise<boolean> {
  for await (const piece of request) {
    if (request.response?.statusCode !== 200 || !take(piece as Buffer)) return true;
  }
  return false;
}

async function streamReply(
  request: Request,
  { deadline, take, sent }: { deadline: Deadline; take: TakePiece; sent: Sent },
): Promise<StreamReply> {
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
