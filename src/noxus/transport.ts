import { Agent as HttpAgent, validateHeaderValue, type IncomingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { CancelError, got, RequestError, type Progress } from 'got';
import { formatDuration } from '../core/duration.ts';
import { RunwatchError } from '../core/errors.ts';
import type { Deadline } from './deadline.ts';
import { networkFailure, timedOutPhase, type Failure } from './failure.ts';

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

/** What came back of one request: an answer, or the part of one before it broke off. */
export type Reply =
  | { kind: 'answer'; status: number; headers: IncomingHttpHeaders; body: Buffer }
  /** `status` and `headers` are null where the connection did not get that far. */
  | {
      kind: 'broken';
      status: number | null;
      headers: IncomingHttpHeaders | null;
      failure: Failure;
    };

export interface Transport {
  /** Sends one GET. Never retries, never follows redirects: the API key goes to no other host. */
  get: (path: string, deadline: Deadline) => Promise<Reply>;
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
        if (!(error instanceof RequestError)) throw error;
        const failure = isTooLarge ? TOO_LARGE : failureOf(error, base, options.timeoutMs);
        return brokenReply(error, failure);
      }
    },
    close: () => (agent.https ?? agent.http)?.destroy(),
  };
}

/** By the length that the server announces, before the body is read; else by what has come in. */
function exceedsLimit({ transferred, total }: Progress): boolean {
  return transferred > MAX_BODY_BYTES || (total ?? 0) > MAX_BODY_BYTES;
}

function brokenReply(error: RequestError, failure: Failure): Reply {
  const { statusCode = null, headers = null } = error.response ?? {};
  return { kind: 'broken', status: statusCode, headers, failure };
}

/** Only a deadline cancels a request, but for the limit of its size. */
function failureOf(error: RequestError, base: URL, timeoutMs: number): Failure {
  if (!(error instanceof CancelError)) return networkFailure(error, base);
  const phase = timedOutPhase(error.timings, base);
  const message = `timed out after ${formatDuration(timeoutMs)} ${phase}`;
  return { reason: 'timed_out', message, transient: false };
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
