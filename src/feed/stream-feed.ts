import { mayStream, streamRank } from '../core/feed/hint.ts';
import {
  parseWatchId,
  watchId,
  type StoredWatch,
  type Watch,
  type WatchKey,
} from '../core/watch/watch.ts';
import { streamRun, type StreamEnd, type StreamContext } from './hint-stream.ts';
import { grantedPauseMs } from '../core/source/throttle.ts';

/** How long no stream is opened at a source that refuses them, ms. */
const REFUSED_REST_MS = 600_000;

/** How long no stream is asked for after one had the source paused, beyond that pause, at the least, ms. */
const PAUSED_REST_MS = 60_000;

interface HintStore {
  renew(source: string, process: string, ids: string[]): Promise<string[]>;
  isStreamed(source: string, id: string): Promise<boolean>;
  takeUpLapsed(source: string, takeUp: (id: string) => Promise<void>): Promise<void>;
  takeUpHeldBy(
    source: string,
    process: string,
    takeUp: (id: string) => Promise<void>,
  ): Promise<void>;
}

interface HintsDependencies extends Omit<StreamContext, 'giveWay'> {
  store: HintStore & StreamContext['store'];
  watches: { getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]> };
  /** The source asks for a pause; null where it does not say how long. */
  pause: (asked: { retryAfterMs: number | null; message: string }) => Promise<void>;
  onEnd: (watch: WatchKey, end: StreamEnd) => void;
  now: () => number;
}

/**
 * Hints of one source: streams of the events of its runs, which say when a poll is worth while. They
 * are never the truth: a hint only expedites a poll. Whatever becomes of a stream, the poll
 * that follows its end puts the run back under the usual cadence. So a stream may lie, hang or be missing.
 */
export interface Hints {
  /** A run was seen that goes on: opens a stream for it, where there is one to be had. */
  offer(watch: Watch): void;
  /** Whether the next poll of a run may be left to its stream. */
  isStreamed(id: string): Promise<boolean>;
  /** Keeps the leases, lets go of what is over, and takes up what a killed process held. */
  tend(): Promise<void>;
  /** Polls what a process streamed that is dead. */
  takeOver(process: string): Promise<void>;
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
  /** When streams may be asked for again; Infinity once this process stops. */
  let notBefore = 0;

  const takeUp = (id: string) => deps.expedite(parseWatchId(id).runId);

  async function giveWay(id: string): Promise<void> {
    const loser = open.get(id);
    loser?.closing.abort();
    await loser?.done;
  }

  async function stream(id: string, watch: Watch, signal: AbortSignal): Promise<void> {
    const end = await streamRun({ ...deps, giveWay }, { id, watch, signal });
    if (end === null) return;
    deps.onEnd(watch, end);
    if (end.kind === 'refused') await refused(end);
  }

  async function refused({ status = null, retryAfterMs = null }: StreamEnd): Promise<void> {
    if (status === 429 || (status === 503 && retryAfterMs !== null)) {
      const pausedMs = grantedPauseMs(retryAfterMs);
      const untilMs = now() + pausedMs;
      // Else streams that are not needed would keep the source paused for polls.
      notBefore = Math.max(notBefore, untilMs + Math.max(PAUSED_REST_MS, pausedMs));
      await deps.pause({ retryAfterMs, message: `status ${status}` });
    } else if (status !== null && status < 500) {
      notBefore = Math.max(notBefore, now() + REFUSED_REST_MS);
    }
  }

  return {
    offer(watch) {
      const id = watchId(watch);
      if (open.has(id) || !mayStream(watch) || now() < notBefore) return;
      if (open.size >= deps.limit && !isBeforeOneOf(watch, [...open.values()])) return;
      const closing = new AbortController();
      const done = stream(id, watch, closing.signal)
        .catch(deps.onError)
        .finally(() => open.delete(id));
      open.set(id, { watch, closing, done });
    },
    isStreamed: (id) => store.isStreamed(source, id),
    async tend() {
      for (const id of await store.renew(source, process, [...open.keys()])) {
        open.get(id)?.closing.abort();
      }
      await closeEnded(deps, [...open.values()]);
      await store.takeUpLapsed(source, takeUp);
    },
    takeOver: (dead) => store.takeUpHeldBy(source, dead, takeUp),
    async stop() {
      notBefore = Infinity;
      for (const { closing } of open.values()) closing.abort();
      await Promise.all([...open.values()].map(({ done }) => done));
    },
  };
}

/** Whether a run needs a stream more than one of those that have one. */
function isBeforeOneOf(watch: Watch, open: OpenStream[]): boolean {
  const rank = streamRank(watch);
  return open.some((other) => streamRank(other.watch) > rank);
}

/** Not every end of a run ends its stream, and watches can be cancelled. */
async function closeEnded({ watches }: HintsDependencies, open: OpenStream[]): Promise<void> {
  const stored = await watches.getMany(open.map(({ watch }) => watch));
  for (const [place, { closing }] of open.entries()) {
    if (stored[place]?.watch.state !== 'active') closing.abort();
  }
}
