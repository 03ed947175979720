import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { parseRetryAfter } from '../core/backoff.ts';
import { withoutControls } from '../core/control-characters.ts';
import { SseParser } from '../core/event/sse.ts';
import type {
  EventStreams,
  StreamEnd,
  StreamListener,
  StreamNote,
} from '../core/feed/run-stream.ts';
import type { SourceHeaders } from '../core/source/port.ts';
import type { RequestReport } from '../core/source/request.ts';
import { boundedNodes, type RunNodes } from '../core/run/nodes.ts';
import { shortageIn } from '../host-shortage.ts';
import { cutRequest } from '../proxy-tunnel.ts';
import { parseJson } from '../fetch/body.ts';
import { openConnections } from '../fetch/connections.ts';
import type { TransportOptions } from '../fetch/transport.ts';

/** No stream is kept for longer, ms: a day. */
const LONGEST_MS = 86_400_000;

/** A stream on which nothing came for so long is closed, ms; Noxus's SDK waits for as long. */
const SILENCE_MS = 120_000;

interface OpenEventStreams extends EventStreams {
  /** Opens further streams with other headers. */
  useHeaders: (headers: SourceHeaders) => void;
}

interface EventStreamsOptions extends TransportOptions {
  silenceMs?: number;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Called when a stream was opened or refused. */
  onRequest?: (report: RequestReport) => void;
}

/**
 * Streams of the events of runs (`GET /v1/runs/{run_id}/events`) of one source, on connections of their own. They use Node's own client:
 * a stream over got holds three times the memory (`bench -- streams --cells held`).
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function createEventStreams(options: EventStreamsOptions): OpenEventStreams {
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
  const follow = (runId: string, listener: StreamListener) =>
    new Promise<StreamEnd>((resolve) => {
      const url = new URL(connections.base.href + pathOf(runId, listener.etag));
      const reader = new EventReader(runId, { memory, onNote: listener.onNote });
      const request = connections.request(url, headers);
      const cut = () => cutRequest(request);
      const stream = new Stream({ ...options, listener, reader, cut });
      request
        .once('response', (response) => stream.answered(response))
        .on('error', (error) => stream.failed(error))
        .once('close', () => resolve(stream.over()))
        .end();
    });
  return {
    follow: (runId, listener) =>
      listener.signal.aborted ? Promise.resolve({ kind: 'closed' }) : follow(runId, listener),
    useHeaders: (own) => void (headers = headersWith(own)),
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

  /** What went wrong matters only where this host is to blame: else that nothing came, or no more. */
  failed(error: Error): void {
    if (!this.isLive && shortageIn(error) !== null) this.end ??= { kind: 'unsent', error };
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

const text = z
  .string()
  .min(1)
  .max(128)
  .transform((found) => withoutControls(found))
  .nullable()
  .catch(null);

const ids = z
  .union([z.array(z.string().max(128)), z.record(z.string().max(128), z.unknown())])
  .transform((found) => (Array.isArray(found) ? found : Object.keys(found)))
  .transform((found) => found.map((id) => withoutControls(id)))
  .catch([]);

const details = z
  .object({
    executed_nodes: ids,
    remaining_nodes: ids,
    running_nodes: ids,
    failed_nodes: ids,
  })
  .nullable()
  .catch(null);

/** What is read of an event. Everything else, the content first of all, is private and dropped. */
const wireEvent = z.object({
  type: z.string().catch(''),
  redisId: text,
  run_id: text,
  data: z
    .object({ status: text, workflow_status: text, progress_details: details, run_id: text })
    .catch({ status: null, workflow_status: null, progress_details: null, run_id: null }),
});

interface ReaderOptions {
  memory?: HeldBytes;
  onNote: (note: StreamNote) => void;
}

/**
 * Reads the events of a run. Comments and other kinds of events are passed over. However fast they
 * come, the CPU that they take is bounded: of those beyond it only the last is parsed, a second later.
 */
export class EventReader {
  broken: null | 'garbage' | 'too_large' = null;
  private readonly parser = new SseParser(MAX_EVENT_BYTES);
  private readonly memory: HeldBytes;
  private second = { at: 0, bytes: 0, parsed: 0 };
  private held: string | null = null;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly runId: string,
    private readonly options: ReaderOptions,
  ) {
    this.memory = options.memory ?? new HeldBytes();
  }

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
    else this.read(json);
  }

  /**
   * A `state` event carries the run's status as `data.status`; there a `content` event has the status
   * of a node, which says nothing of the run.
   */
  private read(json: unknown): void {
    const event = wireEvent.safeParse(json);
    if (!event.success) return;
    const { type, data, redisId } = event.data;
    if (type !== 'state' && type !== 'content') return;
    const about = event.data.run_id ?? data.run_id ?? this.runId;
    if (about.toLowerCase() !== this.runId.toLowerCase()) return;
    const status = data.workflow_status ?? (type === 'state' ? data.status : null);
    this.options.onNote({ status, nodes: nodesOf(data.progress_details), redisId });
  }
}

function nodesOf(found: z.output<typeof details>): RunNodes | null {
  if (found === null) return null;
  const { executed_nodes: executed, remaining_nodes: remaining } = found;
  return boundedNodes({
    executed: executed.length,
    remaining: remaining.length,
    running: found.running_nodes,
    failed: found.failed_nodes,
  });
}
