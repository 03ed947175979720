import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { got, RequestError, type Request } from 'got';
import { credentialsOfHeaders, withoutCredentials } from '../core/credentials.ts';
import type { SourceHeaders } from '../core/source/port.ts';
import { formatDuration } from '../core/time.ts';
import { isNetworkError, messageOf } from '../core/errors.ts';
import type { Deadline } from '../deadline.ts';
import { throwIfExhausted } from '../host-shortage.ts';
import { openConnections, type ConnectionOptions } from './connections.ts';
import { networkFailure, timedOutPhase, type Failure, type Progress } from './failure.ts';

export interface TransportOptions extends ConnectionOptions {
  /** Time for one call in all, ms. */
  timeoutMs: number;
}

/**
 * Takes a piece of a body, decompressed; answers false when it has had enough, which cuts the body
 * off and closes the connection under it.
 */
export type TakePiece = (piece: Buffer, status: number) => boolean;

/** What is sent. */
interface Outgoing {
  method: 'GET' | 'POST';
  path: string;
  body?: object;
  headers?: Readonly<Record<string, string>>;
}

export interface Transport {
  /**
   * Sends one request and hands on the body of the answer piece by piece, for it may be too large to be
   * held. Never retries, never follows redirects: the headers go to no other host.
   * @param onSent called when the request has left this host
   * @throws RunwatchError `host_exhausted` when this host could open no connection
   */
  send: (
    outgoing: Outgoing,
    deadline: Deadline,
    take: TakePiece,
    onSent?: () => void,
  ) => Promise<Reply>;
  /** Takes the credentials in the headers of the source, and in those before them, out of a text. */
  redact: (text: string) => string;
  /** Sends other headers from now on. */
  useHeaders: (headers: SourceHeaders) => void;
  /** Closes all connections. */
  close: () => void;
}

/**
 * One keep-alive connection pool with the headers of a source. Its options are lean on purpose, for this is the
 * hot path: whatever got does beyond sending and receiving is switched off.
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function createTransport(options: TransportOptions): Transport {
  const { base, request: connect, close } = openConnections(options);
  let { headers } = options;
  let credentials = credentialsOfHeaders(headers);
  const bare = got.extend({
    headers: { 'user-agent': options.userAgent, accept: 'application/json' },
    throwHttpErrors: false,
    decompress: true,
    followRedirect: false,
    retry: { limit: 0 },
    request: (url, made) => connect(url, made.headers as OutgoingHttpHeaders, made.method),
  });
  const clientWith = (own: SourceHeaders) =>
    bare.extend({ headers: { ...own, 'accept-encoding': 'gzip, br' } });
  let client = clientWith(headers);
  const sent = { base, timeoutMs: options.timeoutMs };

  return {
    send: ({ method, path, body, headers: own }, deadline, take, onSent) => {
      const url = base.href + path;
      // A stream without any body would wait for one.
      const content = body === undefined ? { body: '' } : { json: body };
      const extra = own && { headers: own };
      const request =
        method === 'GET'
          ? client.stream(url, extra)
          : client.stream(url, { method, ...content, ...extra });
      if (onSent !== undefined) request.once('request', (made) => made.once('finish', onSent));
      return replyOf(request, { deadline, take, sent });
    },
    redact: (text) => withoutCredentials(text, credentials),
    useHeaders(next) {
      // What is in flight was sent with the former ones.
      credentials = credentialsOfHeaders(next).concat(credentialsOfHeaders(headers));
      headers = next;
      client = clientWith(next);
    },
    close,
  };
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
    if (!isOver) {
      await throwIfExhausted(error);
      return brokenReply(error, sent);
    }
    const { statusCode = null, headers = null } = request.response ?? {};
    const failure = timedOut(request.timings, sent);
    return { kind: 'broken', status: statusCode, headers, failure };
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

/** The failure of a request that was given up because its time was over. */
function timedOut(progress: Progress | undefined, { base, timeoutMs }: Sent): Failure {
  const phase = timedOutPhase(progress, base);
  const message = `timed out after ${formatDuration(timeoutMs)} ${phase}`;
  return { message, transient: false };
}
