import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { AbortError, got, RequestError, TimeoutError, type Response } from 'got';
import { isLoopback } from '../config/hosts.ts';
import { isNetworkError, RunwatchError } from '../core/errors.ts';
import { unlikeADaemon, withoutPasswords } from './errors.ts';
import { queryFields, type Query } from './query.ts';

/** Requests to the daemon that run at the same time, at most. */
const MAX_SOCKETS = 8;

/** A stream that is silent for longer than this is taken for dead, ms. */
const STREAM_SILENCE_MS = 90_000;

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface DaemonSettings {
  /** Base URL, http or https. */
  url: string;
  token: string | undefined;
  userAgent: string;
  /** For one whole request. */
  timeoutMs: number;
  /** For how long a daemon on this machine that does not listen yet is waited for. */
  startupMs: number;
  /** Called once, when a daemon that does not listen yet is waited for. */
  onWaiting?: (() => void) | undefined;
}

/** How often a request that may be repeated is sent again after its connection broke. */
const REPEATS = 2;

/** Pause before a request is sent again, ms. */
const REPEAT_MS = 500;

/** How often a request is sent again that the daemon, or what is in front of it, asked to wait. */
const THROTTLED_REPEATS = 6;

/** Longest pause that is made because of such an answer, s. */
const MAX_RETRY_AFTER_S = 10;

/** Between two attempts to reach a daemon that is starting, ms. */
const STARTUP_RETRY_MS = 100;

interface Call {
  query?: Query;
  body?: unknown;
  /** For this request, where it takes longer than others. */
  timeoutMs?: number | undefined;
  /**
   * True where doing it twice would do harm. A key makes the daemon answer a repeat as it answered at
   * first, so the request is sent again where its connection breaks before the answer.
   */
  once?: boolean | undefined;
  signal: AbortSignal;
}

/** An answer with its parsed body; undefined where it had none. */
interface Answer {
  status: number;
  body: unknown;
}

export interface Transport {
  /** The base URL as it may be shown: without credentials. */
  readonly url: string;
  /** Throws RunwatchError `daemon_unreachable` (retriable) and `not_a_daemon`. */
  request(method: Method, path: string, call: Call): Promise<Answer>;
  /** Opens a stream of text chunks, whatever its status; the same errors, also while it is read. */
  open(path: string, call: Call & { headers: Record<string, string> }): Promise<OpenStream>;
}

interface OpenStream {
  status: number;
  contentType: string;
  /** The cursor at which an event stream begins; null where the answer names none. */
  cursor: string | null;
  chunks: AsyncIterable<Uint8Array>;
}

export function createTransport(settings: DaemonSettings): Transport {
  const base = parseBase(settings.url);
  const shown = new URL(base);
  shown.username = shown.password = '';
  const url = shown.href.replace(/\/$/, '');
  const agentOptions = { keepAlive: true, maxSockets: MAX_SOCKETS };
  const client = got.extend({
    headers: {
      'user-agent': settings.userAgent,
      ...(settings.token !== undefined && { authorization: `Bearer ${settings.token}` }),
    },
    retry: { limit: 0 },
    throwHttpErrors: false,
    followRedirect: false,
    decompress: false,
  });
  const pooled = client.extend({
    agent: { http: new HttpAgent(agentOptions), https: new HttpsAgent(agentOptions) },
    timeout: { request: settings.timeoutMs },
    responseType: 'text',
  });
  const startupMs = isLoopback(base.hostname) ? settings.startupMs : 0;
  const startup = new Startup(startupMs, settings.onWaiting);
  return {
    url,
    async request(method, path, { query, body, timeoutMs, once = false, signal }) {
      const options = {
        method,
        signal,
        ...(body !== undefined && { json: body }),
        ...(timeoutMs !== undefined && { timeout: { request: timeoutMs } }),
        ...(once && { headers: { 'idempotency-key': randomUUID() } }),
      };
      const sendOnce = () => pooled(address(base, path, query), options);
      const sendSafely = () => (once ? repeatBroken(sendOnce, signal) : sendOnce());
      const send = () => repeatThrottled(sendSafely, signal);
      const answer = await startup.through(send, signal).catch(fail(url));
      return { status: answer.statusCode, body: parseBody(answer, url) };
    },
    async open(path, { query, signal, headers }) {
      const stream = client.stream(address(base, path, query), {
        headers: { accept: 'text/event-stream', ...headers },
        timeout: { connect: settings.timeoutMs, response: settings.timeoutMs },
        signal,
      });
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        stream.once('response', resolve);
        stream.once('error', reject);
      }).catch(fail(url));
      return {
        status: response.statusCode ?? 0,
        contentType: response.headers['content-type'] ?? '',
        cursor: cursorOf(response),
        chunks: guarded(stream, url),
      };
    },
  };
}

/** Sends again what was refused for now: nothing was done. The last answer is the result. */
async function repeatThrottled<Reply extends Pick<Response, 'statusCode' | 'headers'>>(
  send: () => Promise<Reply>,
  signal: AbortSignal,
): Promise<Reply> {
  for (let left = THROTTLED_REPEATS; ; left -= 1) {
    const answer = await send();
    const seconds = Number(answer.headers['retry-after']);
    const isThrottled = answer.statusCode === 429 && seconds <= MAX_RETRY_AFTER_S;
    if (!isThrottled || left === 0) return answer;
    await sleep(seconds * 1_000, undefined, { signal });
  }
}

/** Sends again what got no answer of its own; the last answer or error is the result. */
async function repeatBroken<Reply extends { statusCode: number; body: string }>(
  send: () => Promise<Reply>,
  signal: AbortSignal,
): Promise<Reply> {
  for (let left = REPEATS; ; left -= 1) {
    try {
      const answer = await send();
      if (left === 0 || !isInProgress(answer)) return answer;
    } catch (error) {
      if (left === 0 || !isBroken(error)) throw error;
    }
    await sleep(REPEAT_MS, undefined, { signal });
  }
}

function isInProgress({ statusCode, body }: { statusCode: number; body: string }): boolean {
  return statusCode === 409 && body.includes('"code":"idempotency_in_progress"');
}

function isBroken(error: unknown): boolean {
  return error instanceof RequestError && ['ECONNRESET', 'EPIPE'].includes(error.code);
}

function cursorOf({ headers }: IncomingMessage): string | null {
  const cursor = headers['runwatch-cursor'];
  return typeof cursor === 'string' ? cursor : null;
}

/**
 * Waits for a daemon that was started by the same line of a shell: it listens within a second or two.
 * The time is that of all requests together, so that a daemon which is away costs it once.
 */
class Startup {
  #leftMs: number;
  #onWaiting: (() => void) | undefined;

  constructor(ms: number, onWaiting: (() => void) | undefined) {
    this.#leftMs = ms;
    this.#onWaiting = onWaiting;
  }

  async through<Reply>(send: () => Promise<Reply>, signal: AbortSignal): Promise<Reply> {
    for (;;) {
      try {
        const answer = await send();
        this.#leftMs = 0;
        return answer;
      } catch (error) {
        const isAbsent = error instanceof RequestError && error.code === 'ECONNREFUSED';
        if (!isAbsent || this.#leftMs <= 0) throw error;
        this.#onWaiting?.();
        this.#onWaiting = undefined;
        this.#leftMs -= STARTUP_RETRY_MS;
        await sleep(STARTUP_RETRY_MS, undefined, { signal });
      }
    }
  }
}

/** The chunks of a stream that is not silent for too long, with errors in our words. */
async function* guarded(
  stream: AsyncIterable<Uint8Array> & { destroy(error?: Error): unknown },
  url: string,
): AsyncGenerator<Uint8Array> {
  const silent = new RunwatchError(`the stream of ${url} is silent`, {
    code: 'daemon_unreachable',
    retriable: true,
  });
  const timer = setTimeout(() => stream.destroy(silent), STREAM_SILENCE_MS);
  try {
    for await (const chunk of stream) {
      timer.refresh();
      yield chunk;
    }
  } catch (error) {
    fail(url)(error);
  } finally {
    clearTimeout(timer);
    stream.destroy();
  }
}

function parseBase(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol)) return url;
  const shown = withoutPasswords(text);
  throw new RunwatchError(
    `the daemon's address must be an http:// or https:// URL, got "${shown}"`,
    { code: 'usage' },
  );
}

function address(base: URL, path: string, query: Query = {}): URL {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`;
  for (const [name, text] of queryFields(query)) url.searchParams.append(name, text);
  return url;
}

function parseBody({ statusCode, body }: Response<string>, url: string): unknown {
  if (body === '') return undefined;
  try {
    return JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw unlikeADaemon(url, statusCode, 'its answer is not JSON');
    }
    throw error;
  }
}

function fail(url: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof AbortError || !isNetworkError(error)) throw error;
    throw new RunwatchError(describe(error, url), {
      code: 'daemon_unreachable',
      retriable: true,
      cause: error,
    });
  };
}

function describe(error: Error & { code: string }, url: string): string {
  if (error instanceof TimeoutError) return `the daemon at ${url} does not answer in time`;
  const why = error.code === 'ECONNREFUSED' ? '' : ` (${error.code})`;
  return `no daemon answers at ${url}${why}; start one with \`runwatch serve\`, or set RUNWATCH_URL`;
}
