import { z } from 'zod';
import { parseRetryAfter } from '../core/backoff.ts';
import { withoutControls } from '../core/controls.ts';
import type { RunHint } from '../core/feed/hint.ts';
import { Deadline } from './deadline.ts';
import { type Reply, createTransport, type TransportOptions } from './transport.ts';

/** No stream is kept for longer, ms: a day. */
const LONGEST_MS = 86_400_000;

/** Why a stream is over. */
type StreamEnd =
  /** The server ended it, as it does when the run completes or fails, or the connection broke. */
  | { kind: 'ended' }
  /** Nothing came for too long. */
  | { kind: 'silent' }
  /** What came is no stream of a run's events. */
  | { kind: 'garbage' | 'too_large' }
  /** It was not opened; null where no answer came. */
  | { kind: 'refused'; status: number | null; retryAfterMs: number | null }
  | { kind: 'closed' };

interface StreamListener {
  /** Something came in, be it only that the server is there. */
  onLife: () => void;
  onHint: (hint: RunHint) => void;
  /** Closes the stream. */
  signal: AbortSignal;
}

interface EventStreamsOptions extends TransportOptions {
  /** How long nothing may come in, ms. */
  silenceMs: number;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Called when a stream was opened or refused. */
  onRequest: (request: { kind: 'stream'; status: number | null }) => void;
}

export interface EventStreams {
  /** Follows `GET /v1/runs/{run_id}/events` until it ends; trouble is never thrown. */
  follow: (runId: string, listener: StreamListener) => Promise<StreamEnd>;
  close: () => void;
}

/** Streams of the events of runs of one source, on connections of their own. */
export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const transport = createTransport({ ...options, isCompressed: false });
  return {
    async follow(runId, { onLife, onHint, signal }) {
      const reader = new EventReader();
      const deadline = new Deadline(LONGEST_MS, signal);
      let broken: 'garbage' | 'too_large' | null = null;
      let isSilent = false;
      let isCounted = false;
      const opened = (status: number | null): void => {
        if (!isCounted) options.onRequest({ kind: 'stream', status });
        isCounted = true;
      };
      const silence = setTimeout(() => {
        isSilent = true;
        deadline.abandon();
      }, options.silenceMs);
      const take = (piece: Buffer, status: number): boolean => {
        if (status !== 200) return false;
        silence.refresh();
        opened(200);
        const taken = reader.take(piece);
        if (taken.broken === null) onLife();
        for (const hint of taken.hints) onHint(hint);
        broken = taken.broken;
        return broken === null;
      };
      try {
        const path = `v1/runs/${encodeURIComponent(runId)}/events`;
        const reply = await transport.get(path, deadline, take);
        opened(reply.status);
        if (signal.aborted) return { kind: 'closed' };
        if (isSilent) return { kind: 'silent' };
        return broken === null ? endOf(reply, options.now()) : { kind: broken };
      } finally {
        clearTimeout(silence);
        deadline.release();
      }
    },
    close: () => transport.close(),
  };
}

function endOf({ status, headers }: Reply, now: number): StreamEnd {
  if (status === 200) return { kind: 'ended' };
  const retryAfterMs = parseRetryAfter(headers?.['retry-after'], now);
  return { kind: 'refused', status, retryAfterMs };
}

/** Longest event that is read, bytes; what is longer is no event of a run, or an attack. */
const MAX_EVENT_BYTES = 262_144;

const NEWLINE = 0x0a;

const status = z
  .string()
  .min(1)
  .max(64)
  .transform((text) => withoutControls(text))
  .nullable()
  .catch(null);

/** What is read of an event. Everything else, the content first of all, is private and dropped. */
const wireEvent = z.object({
  type: z.string().catch(''),
  data: z
    .object({ status, workflow_status: status })
    .catch({ status: null, workflow_status: null }),
});

/** `broken`: what came is not a stream of a run's events, or more of one than is held. */
type Taken = { hints: RunHint[]; broken: null | 'garbage' | 'too_large' };

/**
 * Reads the events of a run out of a stream that may be cut anywhere, holding one event at most.
 * Comments, by which servers show that they are there, and other kinds of events are passed over.
 * Source: HTML Standard, section 9.2.6 "Interpreting an event stream".
 */
export class EventReader {
  /** The line that is not yet complete. */
  #line: Buffer[] = [];
  #bytes = 0;
  #data: string[] = [];
  #name = 'message';

  take(piece: Buffer): Taken {
    const hints: RunHint[] = [];
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE, from)) {
      this.#line.push(piece.subarray(from, end));
      this.#bytes += end - from;
      if (this.#bytes > MAX_EVENT_BYTES) return { hints, broken: 'too_large' };
      const hint = this.#endLine();
      if (hint === 'garbage') return { hints, broken: 'garbage' };
      if (hint !== null) hints.push(hint);
      from = end + 1;
    }
    // A copy: the piece may be a slice of something much larger.
    this.#line.push(Buffer.from(piece.subarray(from)));
    this.#bytes += piece.length - from;
    return { hints, broken: this.#bytes > MAX_EVENT_BYTES ? 'too_large' : null };
  }

  #endLine(): RunHint | 'garbage' | null {
    const line = Buffer.concat(this.#line).toString().replace(/\r$/, '');
    this.#line = [];
    if (line !== '') {
      this.#field(line);
      return null;
    }
    const [data, name] = [this.#data, this.#name];
    this.#data = [];
    this.#name = 'message';
    this.#bytes = 0;
    return data.length === 0 || name !== 'message' ? null : readHint(data.join('\n'));
  }

  #field(line: string): void {
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'data') this.#data.push(value);
    if (name === 'event') this.#name = value;
  }
}

/**
 * The status of the run that an event names; null where it names none. A `state` event carries it
 * as `data.status`; there a `content` event has the status of a node, which says nothing of the run.
 */
function readHint(text: string): RunHint | 'garbage' | null {
  const json = parseJson(text);
  if (json === undefined) return 'garbage';
  const event = wireEvent.safeParse(json);
  if (!event.success || (event.data.type !== 'state' && event.data.type !== 'content')) return null;
  const { type, data } = event.data;
  const named = data.workflow_status ?? (type === 'state' ? data.status : null);
  return named === null ? null : { status: named };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
