import { z } from 'zod';
import { parseRetryAfter } from '../core/backoff.ts';
import { SseParser } from '../core/event/sse.ts';
import { withoutControls } from '../core/controls.ts';
import type { RunHint } from '../core/feed/hint.ts';
import { Deadline } from '../deadline.ts';
import { parseJson } from './errors.ts';
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
  /** Opens further streams with another API key. */
  useApiKey: (apiKey: string) => void;
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
    useApiKey: (apiKey) => transport.useApiKey(apiKey),
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

/** Reads the events of a run. Comments and other kinds of events are passed over. */
export class EventReader {
  readonly #parser = new SseParser(MAX_EVENT_BYTES);

  take(piece: Uint8Array): Taken {
    const hints: RunHint[] = [];
    for (const { event, data } of this.#parser.push(piece)) {
      if (data === null || (event ?? 'message') !== 'message') continue;
      const hint = readHint(data);
      if (hint === 'garbage') return { hints, broken: 'garbage' };
      if (hint !== null) hints.push(hint);
    }
    return { hints, broken: this.#parser.isTooLarge ? 'too_large' : null };
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
