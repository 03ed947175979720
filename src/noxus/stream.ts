import { z } from 'zod';
import { parseRetryAfter } from '../core/backoff.ts';
import { SseParser } from '../core/event/sse.ts';
import { withoutControls } from '../core/controls.ts';
import { boundedNodes, type RunNodes } from '../core/run/nodes.ts';
import { Deadline } from '../deadline.ts';
import { parseJson } from './errors.ts';
import { type Reply, createTransport, type TransportOptions } from './transport.ts';

/** No stream is kept for longer, ms: a day. */
const LONGEST_MS = 86_400_000;

/** A stream on which nothing came for so long is closed, ms; Noxus's SDK waits for as long. */
const SILENCE_MS = 120_000;

/** Why a stream is over. */
type StreamEnd =
  /** The server ended it, as it does when the run completes or fails, or the connection broke. */
  | { kind: 'ended' }
  /** Nothing came for too long. */
  | { kind: 'silent' }
  /** What came is no stream of a run's events, or more than is taken in. */
  | { kind: 'garbage' | 'too_large' }
  /** There is none: another status, or an answer of another type. */
  | { kind: 'refused'; status: number }
  /** Too many requests; null where it is not said for how long. */
  | { kind: 'throttled'; status: number; retryAfterMs: number | null }
  /** A fault, or no answer. */
  | { kind: 'failed'; status: number | null }
  | { kind: 'closed' };

/** What one event says of a run. Null for what it does not name. */
export interface StreamNote {
  status: string | null;
  nodes: RunNodes | null;
  /** Resumes the stream behind this event. */
  redisId: string | null;
}

interface StreamListener {
  /** The last event that was taken in; null for none. */
  etag: string | null;
  onLive: () => void;
  onNote: (note: StreamNote) => void;
  /** Closes the stream. */
  signal: AbortSignal;
}

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

/** Streams of the events of runs of one source, on connections of their own. */
export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const accept = 'text/event-stream';
  const transport = createTransport({ ...options, isCompressed: false, accept });
  const memory = new HeldBytes();
  return {
    async follow(runId, listener) {
      const deadline = new Deadline(LONGEST_MS, listener.signal);
      const reader = new EventReader(runId, { memory, onNote: listener.onNote });
      const watched = new Watched(deadline, options);
      const open = {
        onAnswer: (status: number, type: string) => {
          options.onRequest?.({ kind: 'stream', status });
          if (!watched.answered(status, type)) return;
          listener.onLive();
        },
        take: (piece: Buffer) => watched.isStream && watched.refresh() && reader.take(piece),
      };
      try {
        const reply = await transport.get(pathOf(runId, listener.etag), deadline, open.take, {
          onAnswer: open.onAnswer,
        });
        reader.flush();
        if (reply.status === null) options.onRequest?.({ kind: 'stream', status: null });
        if (listener.signal.aborted) return { kind: 'closed' };
        return reader.broken === null
          ? endOf(reply, watched, options.now())
          : { kind: reader.broken };
      } finally {
        watched.stop();
        reader.stop();
        deadline.release();
      }
    },
    useApiKey: (apiKey) => transport.useApiKey(apiKey),
    close: () => transport.close(),
  };
}

function pathOf(runId: string, etag: string | null): string {
  const path = `v1/runs/${encodeURIComponent(runId)}/events`;
  return etag === null ? path : `${path}?etag=${encodeURIComponent(etag)}`;
}

/** Gives up a request that is not answered in time, and a stream on which nothing comes. */
class Watched {
  isStream = false;
  isSilent = false;
  private timer: NodeJS.Timeout;

  constructor(
    private readonly deadline: Deadline,
    private readonly options: Pick<EventStreamsOptions, 'timeoutMs' | 'silenceMs'>,
  ) {
    this.timer = this.limit(options.timeoutMs);
  }

  /** @returns whether a stream has begun */
  answered(status: number, type: string): boolean {
    this.isStream = status === 200 && /^text\/event-stream\b/i.test(type);
    clearTimeout(this.timer);
    if (this.isStream) this.timer = this.limit(this.options.silenceMs ?? SILENCE_MS);
    return this.isStream;
  }

  refresh(): true {
    this.timer.refresh();
    return true;
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private limit(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.isSilent = true;
      this.deadline.abandon();
    }, ms);
  }
}

function endOf({ status, headers }: Reply, watched: Watched, now: number): StreamEnd {
  if (watched.isStream) return { kind: watched.isSilent ? 'silent' : 'ended' };
  if (status === null || watched.isSilent) return { kind: 'failed', status: null };
  const retryAfterMs = parseRetryAfter(headers?.['retry-after'], now);
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
