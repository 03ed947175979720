import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { parseRetryAfter } from '../core/backoff.ts';
import type { StreamEnd, StreamListener } from '../core/feed/event-stream.ts';
import { cutRequest } from '../tunnel.ts';
import { openConnections } from './connections.ts';
import { EventReader, HeldBytes } from './event-reader.ts';
import type { TransportOptions } from './transport.ts';

/** No stream is kept for longer, ms: a day. */
const LONGEST_MS = 86_400_000;

/** A stream on which nothing came for so long is closed, ms; Noxus's SDK waits for as long. */
const SILENCE_MS = 120_000;

interface EventStreamsOptions extends TransportOptions {
  silenceMs?: number;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Called when a stream was opened or refused. */
  onRequest?: (request: { kind: 'stream'; status: number | null }) => void;
}

export interface EventStreams {
  /** Follows `GET /v1/runs/{run_id}/events` until it ends; trouble is never thrown. */
  follow: (runId: string, listener: StreamListener) => Promise<StreamEnd>;
  /** Opens further streams with another API key. */
  useApiKey: (apiKey: string) => void;
  close: () => void;
}

/**
 * Streams of the events of runs of one source, on connections of their own. They use Node's own client:
 * a stream over got holds three times the memory (`bench -- streams --cells held`).
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const connections = openConnections(options);
  const memory = new HeldBytes();
  const headers = {
    'x-api-key': options.apiKey,
    'user-agent': options.userAgent,
    accept: 'text/event-stream',
    // A compressed event would come late.
    'accept-encoding': 'identity',
  };
  const follow = (runId: string, listener: StreamListener) =>
    new Promise<StreamEnd>((resolve) => {
      const url = new URL(connections.base.href + pathOf(runId, listener.etag));
      const reader = new EventReader(runId, { memory, onNote: listener.onNote });
      const request = connections.request(url, headers);
      const cut = () => cutRequest(request);
      const stream = new Stream({ ...options, listener, reader, cut });
      request
        .once('response', (response) => stream.answered(response))
        // What went wrong is no matter: that nothing came, or no more, is.
        .on('error', () => undefined)
        .once('close', () => resolve(stream.over()))
        .end();
    });
  return {
    follow: (runId, listener) =>
      listener.signal.aborted ? Promise.resolve({ kind: 'closed' }) : follow(runId, listener),
    useApiKey: (apiKey) => void (headers['x-api-key'] = apiKey),
    close: connections.close,
  };
}

function pathOf(runId: string, etag: string | null): string {
  const path = `v1/runs/${encodeURIComponent(runId)}/events`;
  return etag === null ? path : `${path}?etag=${encodeURIComponent(etag)}`;
}

interface StreamOptions extends Pick<
  EventStreamsOptions,
  'timeoutMs' | 'silenceMs' | 'now' | 'onRequest'
> {
  listener: StreamListener;
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
    const { listener, timeoutMs } = options;
    this.silence = setTimeout(() => this.endAs({ kind: 'failed', status: null }), timeoutMs);
    this.longest = setTimeout(() => this.endAs({ kind: 'ended' }), LONGEST_MS).unref();
    // One signal may close the streams of many runs: as many listeners are no leak.
    setMaxListeners(0, listener.signal);
    listener.signal.addEventListener('abort', this.close);
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
    const { silenceMs = SILENCE_MS, listener } = options;
    this.silence = setTimeout(() => this.endAs({ kind: 'silent' }), silenceMs);
    response.on('error', () => undefined).on('data', (piece: Buffer) => this.take(piece));
    listener.onLive();
  }

  /** @returns why; called once the connection is closed, or free for another request */
  over(): StreamEnd {
    const { listener, reader, onRequest } = this.options;
    clearTimeout(this.silence);
    clearTimeout(this.longest);
    listener.signal.removeEventListener('abort', this.close);
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
