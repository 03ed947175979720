import { isNews, streamRank, type RunHint } from '../core/feed/hint.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { Permit } from '../poll/source-limiter.ts';

/** After a stream has ended in any way, the run is polled as others are for this long, ms. */
const REST_MS = 60_000;

/** There was no leave to open it; the next poll may try again soon. */
const NO_LEAVE_REST_MS = 2_000;

/** Of hints that follow one another closely, one poll serves all, ms. */
const GATHER_MS = 100;

/**
 * After a hint the run is polled as others are for so long: a read may lag behind the stream.
 */
const DOUBT_MS = 15_000;

interface StreamLeases {
  lease(
    source: string,
    ask: { id: string; process: string; rank: number; limit: number },
  ): Promise<{ loser: string | null } | null>;
  trust(source: string, ask: { id: string; process: string; trusted: boolean }): Promise<void>;
  release(source: string, ask: { id: string; process: string; restMs: number }): Promise<void>;
}

/** Why a stream is over; see `noxus/stream.ts`. */
export interface StreamEnd {
  kind: 'ended' | 'silent' | 'garbage' | 'too_large' | 'refused' | 'closed';
  /** Of a refusal; null where no answer came. */
  status?: number | null;
  retryAfterMs?: number | null;
}

interface StreamListener {
  onLife: () => void;
  onHint: (hint: RunHint) => void;
  signal: AbortSignal;
}

export interface StreamContext {
  source: string;
  /** Names this process. */
  process: string;
  /** Most streams of the source, over all processes. */
  limit: number;
  store: StreamLeases;
  streams: { follow(runId: string, listener: StreamListener): Promise<StreamEnd> };
  claim: () => Promise<Permit | null>;
  /** Closes the stream of a run that has lost its lease, if this process has it. Resolves once it is. */
  giveWay: (id: string) => Promise<void>;
  /** Polls a run as soon as possible. */
  expedite: (runId: string) => Promise<void>;
  onError: (error: unknown) => void;
}

/** The run that is streamed: its watch as it was when it was last seen, and that one's id. */
export interface StreamedRun {
  id: string;
  watch: Watch;
  signal: AbortSignal;
}

/**
 * Streams a run's events from the lease to its return. Whatever the end, the lease is given back
 * before the run is polled once more, so that this poll leads back to the usual cadence.
 * @returns why it is over; null where there was none to be had
 */
export async function streamRun(
  context: StreamContext,
  run: StreamedRun,
): Promise<StreamEnd | null> {
  const { source, process, limit, store } = context;
  const { id, watch, signal } = run;
  const lease = await store.lease(source, { id, process, rank: streamRank(watch), limit });
  if (lease === null) return null;
  if (lease.loser !== null) await context.giveWay(lease.loser);
  const permit = await context.claim();
  if (permit === null) {
    await store.release(source, { id, process, restMs: NO_LEAVE_REST_MS });
    return null;
  }
  const end = await context.streams.follow(watch.runId, {
    signal,
    onLife: onceAlive(context, run, permit),
    onHint: hintListener(context, run),
  });
  permit.settle();
  await store.release(source, { id, process, restMs: end.kind === 'closed' ? 0 : REST_MS });
  await context.expedite(watch.runId);
  return end;
}

/** What happened before the stream began is not in it, and is left to one more poll. */
function onceAlive(context: StreamContext, { id, watch }: StreamedRun, permit: Permit): () => void {
  let isAlive = false;
  return () => {
    if (isAlive) return;
    isAlive = true;
    permit.settle();
    trust(context, id, true)
      .then(() => context.expedite(watch.runId))
      .catch(context.onError);
  };
}

function hintListener(context: StreamContext, { id, watch, signal }: StreamedRun) {
  let known = watch.run?.status ?? null;
  let gathering: NodeJS.Timeout | null = null;
  let doubting: NodeJS.Timeout | null = null;

  async function poll(): Promise<void> {
    gathering = null;
    if (signal.aborted) return;
    await trust(context, id, false);
    await context.expedite(watch.runId);
    doubting ??= setTimeout(believe, DOUBT_MS).unref();
    doubting.refresh();
  }

  function believe(): void {
    if (!signal.aborted) trust(context, id, true).catch(context.onError);
  }

  return (hint: RunHint): void => {
    if (!isNews(hint, known)) return;
    known = hint.status;
    gathering ??= setTimeout(() => void poll().catch(context.onError), GATHER_MS).unref();
  };
}

async function trust({ source, process, store }: StreamContext, id: string, trusted: boolean) {
  await store.trust(source, { id, process, trusted });
}
