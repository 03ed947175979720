import { isNews, mayStream, streamRank, type RunHint } from '../core/hint.ts';
import { watchId, type StoredWatch, type Watch, type WatchKey } from '../core/watch.ts';
import type { Permit } from './source-budget.ts';

/** After a stream has ended in any way, the run is polled as others are for this long, ms. */
const REST_MS = 60_000;

/** There was no leave to open it; the next poll may try again soon. */
const NO_LEAVE_REST_MS = 2_000;

/** How long a source is left alone that does not let us stream, ms. */
const REFUSED_REST_MS = 600_000;

/** Of hints that follow one another closely, one poll serves all, ms. */
const GATHER_MS = 100;

/**
 * After a hint the run is polled as others are for so long: what is read may lag behind what was told.
 */
const DOUBT_MS = 15_000;

interface HintStore {
  lease(
    source: string,
    ask: { id: string; process: string; rank: number; limit: number },
  ): Promise<boolean>;
  renew(source: string, process: string, ids: string[]): Promise<string[]>;
  trust(source: string, ask: { id: string; process: string; trusted: boolean }): Promise<void>;
  isStreamed(source: string, id: string): Promise<boolean>;
  release(source: string, ask: { id: string; process: string; restMs: number }): Promise<void>;
  takeUpLapsed(source: string, takeUp: (id: string) => Promise<void>): Promise<void>;
}

/** Why a stream is over; see `noxus/event-stream.ts`. */
interface StreamEnd {
  kind: 'ended' | 'silent' | 'garbage' | 'too_large' | 'refused' | 'closed';
  status?: number | null;
  retryAfterMs?: number | null;
}

interface Streams {
  follow(
    runId: string,
    listener: { onLife: () => void; onHint: (hint: RunHint) => void; signal: AbortSignal },
  ): Promise<StreamEnd>;
}

interface HintsDependencies {
  source: string;
  /** Names this process. */
  process: string;
  /** Most streams of the source, over all processes. */
  limit: number;
  store: HintStore;
  streams: Streams;
  watches: { getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]> };
  claim: () => Promise<Permit | null>;
  /** Polls a run as soon as possible. */
  hasten: (id: string) => Promise<void>;
  /** The source asks for a pause. */
  pause: (ms: number, status: number) => Promise<void>;
  onEnd: (watch: WatchKey, end: StreamEnd) => void;
  onError: (error: unknown) => void;
  now: () => number;
}

/**
 * Hints of one source: streams of the events of its runs, which say when a poll is worth while. They
 * are never the truth: a hint only wakes the poll job, and whatever becomes of a stream, the poll that
 * follows its end puts the run back under the usual cadence. So a stream may lie, hang or be missing.
 */
export interface Hints {
  /** A run was seen that goes on: opens a stream for it, where there is one to be had. */
  offer(watch: Watch): void;
  /** Whether a run's next poll is only a backstop. */
  isStreamed(id: string): Promise<boolean>;
  /** Keeps the leases, lets go of what is over, and takes up what a killed process held. */
  tend(): Promise<void>;
  stop(): Promise<void>;
}

interface OpenStream {
  watch: Watch;
  closing: AbortController;
  done: Promise<void>;
}

export function createHints(deps: HintsDependencies): Hints {
  const { source, process, store, now } = deps;
  const open = new Map<string, OpenStream>();
  let refusedUntil = 0;
  let stopped = false;

  async function openStream(id: string, watch: Watch, signal: AbortSignal): Promise<void> {
    const rank = streamRank(watch);
    if (!(await store.lease(source, { id, process, rank, limit: deps.limit }))) return;
    const permit = await deps.claim();
    if (permit === null || signal.aborted) {
      await store.release(source, { id, process, restMs: NO_LEAVE_REST_MS });
      return;
    }
    const end = await deps.streams.follow(watch.runId, listener(id, watch, permit, signal));
    permit.settle();
    deps.onEnd(watch, end);
    if (end.kind === 'refused') await refused(end);
    await store.release(source, { id, process, restMs: end.kind === 'closed' ? 0 : REST_MS });
    await deps.hasten(id);
  }

  async function trust(id: string, trusted: boolean): Promise<void> {
    await store.trust(source, { id, process, trusted });
  }

  function listener(id: string, watch: Watch, permit: Permit, signal: AbortSignal) {
    let known = watch.run?.status ?? null;
    let lives = false;
    let pending: NodeJS.Timeout | null = null;
    let doubts: NodeJS.Timeout | null = null;

    async function pollNow(): Promise<void> {
      pending = null;
      await trust(id, false);
      await deps.hasten(id);
      doubts ??= setTimeout(believeAgain, DOUBT_MS).unref();
      doubts.refresh();
    }
    const believeAgain = () => {
      if (!signal.aborted) trust(id, true).catch(deps.onError);
    };

    return {
      signal,
      onLife() {
        if (lives) return;
        lives = true;
        permit.settle();
        // What happened before it began is not in the stream, and is left to one more poll.
        trust(id, true)
          .then(() => deps.hasten(id))
          .catch(deps.onError);
      },
      onHint(hint: RunHint) {
        if (!isNews(hint, known)) return;
        known = hint.status ?? known;
        pending ??= setTimeout(() => void pollNow().catch(deps.onError), GATHER_MS).unref();
      },
    };
  }

  async function refused({ status = null, retryAfterMs = null }: StreamEnd): Promise<void> {
    if (status === 429 || (status === 503 && retryAfterMs !== null)) {
      await deps.pause(retryAfterMs ?? 0, status);
      return;
    }
    if (status !== null && status < 500) refusedUntil = now() + REFUSED_REST_MS;
  }

  async function closeEnded(): Promise<void> {
    const streams = [...open.entries()];
    const stored = await deps.watches.getMany(streams.map(([, { watch }]) => watch));
    for (const [place, [, stream]] of streams.entries()) {
      if (stored[place]?.watch.state !== 'active') stream.closing.abort();
    }
  }

  return {
    offer(watch) {
      const id = watchId(watch);
      if (stopped || open.has(id) || open.size >= deps.limit) return;
      if (!mayStream(watch) || now() < refusedUntil) return;
      const closing = new AbortController();
      const done = openStream(id, watch, closing.signal)
        .catch(deps.onError)
        .finally(() => open.delete(id));
      open.set(id, { watch, closing, done });
    },
    isStreamed: (id) => store.isStreamed(source, id),
    async tend() {
      for (const id of await store.renew(source, process, [...open.keys()])) {
        open.get(id)?.closing.abort();
      }
      await closeEnded();
      await store.takeUpLapsed(source, deps.hasten);
    },
    async stop() {
      stopped = true;
      for (const { closing } of open.values()) closing.abort();
      await Promise.all([...open.values()].map(({ done }) => done));
    },
  };
}
