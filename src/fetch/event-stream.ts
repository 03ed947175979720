import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { parseRetryAfter } from '../core/backoff.ts';
import { SseParser } from '../core/event/sse.ts';
import type { StreamEnd } from '../core/feed/run-stream.ts';
import type { SourceHeaders } from '../core/source/port.ts';
import type { RequestReport } from '../core/source/request.ts';
import { shortageIn } from '../host-shortage.ts';
import { cutRequest } from '../proxy-tunnel.ts';
import { parseJson } from './body.ts';
import { openConnections } from './connections.ts';
import type { TransportOptions } from './transport.ts';

/** No stream is kept for longer, ms: a day. */
const LONGEST_MS = 86_400_000;

/** A stream on which nothing came for so long is closed, ms; Noxus's SDK waits for as long. */
const SILENCE_MS = 120_000;

/** A stream, and what hears of it. */
interface FollowedStream {
  /** Below the base URL, query included. */
  path: string;
  onLive: () => void;
  /** Called with the JSON of each event. */
  onEvent: (event: unknown) => void;
  /** Closes the stream. */
  signal: AbortSignal;
}

/** The event streams of one source. */
export interface StreamConnections {
  /** Follows a stream until it ends; trouble is never thrown. */
  follow: (stream: FollowedStream) => Promise<StreamEnd>;
  /** Opens further streams with other headers. */
  useHeaders: (headers: SourceHeaders) => void;
}

interface StreamConnectionsOptions extends TransportOptions {
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Called when a stream was opened or refused. */
  onRequest?: (report: RequestReport) => void;
}

/**
 * Streams of JSON events of one source, on connections of their own. They use Node's own client: a stream
 * over got holds three times the memory (`bench -- streams --cells held`).
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function createStreamConnections(options: StreamConnectionsOptions): StreamConnections {
  const connections = openConnections(options);
  const memory = new HeldBytes();
  const headersWith = (own: SourceHeaders) => ({
    'user-agent': options.userAgent,
    ...own,
    accept: 'text/event-stream',
    // A compressed event would come late.
    'accept-encoding': 'identity',
  });
  let headers = headersWith(options.headers);
  const follow = (followed: FollowedStream) =>
    new Promise<StreamEnd>((resolve) => {
      const url = new URL(connections.base.href + followed.path);
      const reader = new EventReader(followed.onEvent, memory);
      const request = connections.request(url, headers);
      const cut = () => cutRequest(request);
      const stream = new Stream({ ...options, followed, reader, cut });
      request
        .once('response', (response) => stream.answered(response))
        .on('error', (error) => stream.failed(error))
        .once('close', () => resolve(stream.over()))
        .end();
    });
  return {
    follow: (followed) =>
      followed.signal.aborted ? Promise.resolve({ kind: 'closed' }) : follow(followed),
    useHeaders: (own) => void (headers = headersWith(own)),
  };
}

interface StreamOptions extends Pick<StreamConnectionsOptions, 'timeoutMs' | 'now' | 'onRequest'> {
  followed: FollowedStream;
  reader: EventReader;
  /** Ends the request, and closes the connection under it. */
  cut: () => void;
}

/** One request for a stream, from its sending to its end. */
class Stream {
  private end: StreamEnd | null = null;
  private isLive = false;
  private silence: NodeJS.Timeout;
  private readonly longest: NodeJS.Timeout;

  constructor(private readonly options: StreamOptions) {
    const { followed, timeoutMs } = options;
    this.silence = setTimeout(() => this.endAs({ kind: 'failed', status: null }), timeoutMs);
    this.longest = setTimeout(() => this.endAs({ kind: 'ended' }), LONGEST_MS).unref();
    // One signal may close the streams of many runs: as many listeners are no leak.
    setMaxListeners(0, followed.signal);
    followed.signal.addEventListener('abort', this.close);
  }

  answered(response: IncomingMessage): void {
    const { options, end } = this;
    const { statusCode: status = 0, headers } = response;
    const { 'content-type': type = '', 'content-encoding': coding = 'identity' } = headers;
    if (end !== null) return;
    clearTimeout(this.silence);
    options.onRequest?.({ kind: 'stream', status });
    if (status !== 200 || coding !== 'identity' || !/^text\/event-stream\b/i.test(type)) {
      return this.endAs(refusal(response, options.now()));
    }
    this.isLive = true;
    const { followed } = options;
    this.silence = setTimeout(() => this.endAs({ kind: 'silent' }), SILENCE_MS);
    response.on('error', () => undefined).on('data', (piece: Buffer) => this.take(piece));
    followed.onLive();
  }

  /** What went wrong matters only where this host is to blame: else that nothing came, or no more. */
  failed(error: Error): void {
    if (!this.isLive && shortageIn(error) !== null) this.end ??= { kind: 'unsent', error };
  }

  /** @returns why; called once the connection is closed, or free for another request */
  over(): StreamEnd {
    const { followed, reader, onRequest } = this.options;
    clearTimeout(this.silence);
    clearTimeout(this.longest);
    followed.signal.removeEventListener('abort', this.close);
    if (this.isLive) reader.flush();
    reader.stop();
    if (reader.broken !== null) this.end ??= { kind: reader.broken };
    this.end ??= this.isLive ? { kind: 'ended' } : { kind: 'failed', status: null };
    if (this.end.kind === 'failed' && this.end.status === null) {
      onRequest?.({ kind: 'stream', status: null });
    }
    return this.end;
  }

  private readonly close = (): void => this.endAs({ kind: 'closed' });

  private take(piece: Buffer): void {
    if (this.end !== null) return;
    this.silence.refresh();
    const { reader } = this.options;
    if (!reader.take(piece)) this.endAs({ kind: reader.broken ?? 'ended' });
  }

  private endAs(end: StreamEnd): void {
    this.end ??= end;
    this.options.cut();
  }
}

function refusal({ statusCode: status = 0, headers }: IncomingMessage, now: number): StreamEnd {
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  if (status === 429 || (status === 503 && retryAfterMs !== null)) {
    return { kind: 'throttled', status, retryAfterMs };
  }
  return { kind: status >= 500 ? 'failed' : 'refused', status };
}

/** Longest event that is read, bytes; what is longer is no event of a run, or an attack. */
const MAX_EVENT_BYTES = 524_288;

/** All streams of a source together hold no more of events that are not complete, bytes. */
const MAX_HELD_BYTES = 33_554_432;

/** A stream that sends more in a second is closed, bytes. */
const MAX_BYTES_A_SECOND = 4_194_304;

/** Of the events of a second so many bytes are parsed; then only the last one of it. */
const PARSED_BYTES_A_SECOND = 262_144;

const SECOND_MS = 1_000;

/** What all streams of a source hold of events that are not complete. */
class HeldBytes {
  bytes = 0;
}

/**
 * Reads the JSON events of a stream. Comments and other kinds of events are passed over. However fast they
 * come, the CPU that they take is bounded: of those beyond it only the last is parsed, a second later.
 */
export class EventReader {
  broken: null | 'garbage' | 'too_large' = null;
  private readonly parser = new SseParser(MAX_EVENT_BYTES);
  private second = { at: 0, bytes: 0, parsed: 0 };
  private held: string | null = null;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly onEvent: (event: unknown) => void,
    private readonly memory = new HeldBytes(),
  ) {}

  /** @returns false once the stream is broken */
  take(piece: Uint8Array): boolean {
    if (this.broken !== null) return false;
    this.beginSecond();
    this.second.bytes += piece.byteLength;
    const before = this.parser.heldBytes;
    const messages = this.parser.push(piece);
    this.memory.bytes += this.parser.heldBytes - before;
    for (const { event, data } of messages) {
      if (data !== null && (event ?? 'message') === 'message') this.next(data);
    }
    const isTooMuch = this.second.bytes > MAX_BYTES_A_SECOND || this.memory.bytes > MAX_HELD_BYTES;
    if (this.parser.isTooLarge || isTooMuch) this.broken ??= 'too_large';
    return this.broken === null;
  }

  /** Parses the event that was deferred. */
  flush(): void {
    if (this.held !== null) this.parse(this.held);
    this.held = null;
  }

  stop(): void {
    this.memory.bytes -= this.parser.heldBytes;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private beginSecond(): void {
    const now = performance.now();
    if (now - this.second.at >= SECOND_MS) this.second = { at: now, bytes: 0, parsed: 0 };
  }

  private next(data: string): void {
    if (this.broken !== null) return;
    const isFirst = this.second.parsed === 0;
    this.second.parsed += data.length;
    if (isFirst || this.second.parsed <= PARSED_BYTES_A_SECOND) {
      this.held = null;
      return this.parse(data);
    }
    this.held = data;
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.flush();
    }, SECOND_MS).unref();
  }

  private parse(data: string): void {
    const json = parseJson(data);
    if (json === undefined) this.broken ??= 'garbage';
    else this.onEvent(json);
  }
}
