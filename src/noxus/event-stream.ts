import type { RunHint } from '../core/feed/hint.ts';
import { parseRetryAfter } from '../core/backoff.ts';
import { Deadline } from './deadline.ts';
import { EventReader } from './event-reader.ts';
import type { Reply } from './reply.ts';
import { createTransport, type TransportOptions } from './transport.ts';

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
