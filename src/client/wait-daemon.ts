import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../core/backoff.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { isAwaiting, isTerminalStatus } from '../core/run/snapshot.ts';
import type { DaemonClient, RunRef } from './client.ts';
import { followEvents } from './event-stream.ts';
import { isRunEvent, type EventView, type WatchView } from './types.ts';
import { WaitObserver, type RunAccount, type RunReading } from './wait-observer.ts';
import { cannotTell, type RunView, type Verdict } from './wait-verdict.ts';

/** How often `wait` reads a watch, and how long it goes on in spite of errors. Milliseconds. */
interface WaitPace {
  /** Between two reads of a watch while the event stream names no event of it. */
  recheckMs: number;
  /** The same until the first poll result, which yields no event. */
  firstCheckMs: number;
  /** How long nothing may be learned before the answer is "cannot tell". */
  patienceMs: number;
}

const DEFAULT_PACE: WaitPace = { recheckMs: 5_000, firstCheckMs: 500, patienceMs: 120_000 };

/** For how long a wait lets the stream bring the event of what was read, ms. */
const EVENT_WITHIN_MS = 5_000;

/** Of many runs each is read less often, so that all together ask the daemon for so much, ms each. */
const SHARE_MS = 50;

function paceFor(runs: number): WaitPace {
  const least = runs * SHARE_MS;
  const { recheckMs, firstCheckMs, patienceMs } = DEFAULT_PACE;
  return {
    recheckMs: Math.max(recheckMs, least),
    firstCheckMs: Math.max(firstCheckMs, least),
    patienceMs,
  };
}

interface DaemonObserverOptions {
  client: DaemonClient;
  runs: readonly RunRef[];
  throughFeedback: boolean;
  /** False to go by what the daemon knows, also of a watch that has ended. @default true */
  registers?: boolean;
  /** Whether the daemon has answered the caller: before, an error ends the wait at once. @default false */
  hasAnswered?: boolean;
  /** Ends all of it. */
  signal: AbortSignal;
  now: () => number;
  random: Random;
  pace?: WaitPace;
  /** Called for each event of these runs that the stream brings. */
  onEvent?: ((event: EventView) => void) | undefined;
}

/**
 * Waits by reading the daemon's watches. The event stream only says when to read one again, so that
 * losing the stream costs promptness and nothing else.
 */
export function createDaemonObserver(options: DaemonObserverOptions): WaitObserver {
  const byId = new Map(options.runs.map((run) => [run.runId, run]));
  const stream = new RunStream(options);
  const contact = { hasAnswered: options.hasAnswered ?? false };
  const accounts = {
    open(runId: string) {
      const run = byId.get(runId) ?? { runId, source: undefined };
      return new DaemonAccount(options, { stream, contact, run });
    },
    close: () => stream.close(),
  };
  return new WaitObserver(accounts, options.throughFeedback);
}

/** The event stream, as far as it is about the runs. */
class RunStream {
  readonly hints: Hints;
  /** Resolves when it has begun, or will not. */
  readonly begun: Promise<void>;
  readonly #ends = new AbortController();
  readonly #brought = new Set<string>();
  #isOpen = false;

  constructor(options: DaemonObserverOptions) {
    const ids = options.runs.map(({ runId }) => runId);
    // A source may spell a UUID in another way than the user.
    this.hints = new Hints(ids.flatMap((id) => [id, id.toLowerCase()]));
    this.begun = new Promise((resolve) => void this.#follow(options, resolve).finally(resolve));
  }

  /** Waits for an event that the stream has not brought yet. Never throws: what was read stands without it. */
  async untilBrought(runId: string, type: string, signal: AbortSignal): Promise<void> {
    const ends = AbortSignal.any([signal, AbortSignal.timeout(EVENT_WITHIN_MS)]);
    while (this.#isOpen && !ends.aborted && !this.#brought.has(`${type} ${runId}`)) {
      await this.hints.next(runId, EVENT_WITHIN_MS, ends).catch(() => undefined);
    }
  }

  close(): void {
    this.#ends.abort();
  }

  /** Passes on the events of the stream. Never throws. */
  async #follow(
    { client, runs, random, onEvent, signal }: DaemonObserverOptions,
    onBegin: () => void,
  ): Promise<void> {
    const [only] = runs;
    const openEvents: DaemonClient['openEvents'] = async (query, lastId) => {
      const messages = await client.openEvents(query, lastId);
      this.#isOpen = true;
      onBegin();
      return messages;
    };
    const stream = followEvents({
      client: { url: client.url, openEvents },
      query: { run_id: runs.length === 1 ? only?.runId : undefined },
      after: null,
      signal: AbortSignal.any([signal, this.#ends.signal]),
      random,
      onConnection: (state) => (this.#isOpen &&= state !== 'lost'),
    });
    try {
      for await (const event of stream) {
        if (!isRunEvent(event) || !this.hints.give(event.data.run_id)) continue;
        this.#brought.add(`${event.type} ${event.data.run_id}`);
        onEvent?.(event);
      }
    } catch {
      // Without the stream the watches are read every few seconds, and those reads show any error that
      // matters.
      this.#isOpen = false;
    }
  }
}

/** Whether the daemon has answered a request about any of the runs. */
interface Contact {
  hasAnswered: boolean;
}

/** What the daemon's watch shows of a run. */
class DaemonAccount implements RunAccount {
  readonly #options: DaemonObserverOptions;
  readonly #stream: RunStream;
  readonly #contact: Contact;
  readonly #ref: RunRef;
  readonly #pace: WaitPace;
  /** Since when nothing could be learned of the run; null while something can. */
  #troubleSince: number | null = null;
  /** Number of polls before the requested one; the result of these is too old for `awaiting`. */
  #stalePolls: number | null = null;
  /** As it was read last; null before the first time. */
  #watch: WatchView | null = null;
  #view: RunView = { state: 'active', run: null, trouble: null };

  constructor(
    options: DaemonObserverOptions,
    { stream, contact, run }: { stream: RunStream; contact: Contact; run: RunRef },
  ) {
    this.#options = options;
    this.#stream = stream;
    this.#contact = contact;
    this.#ref = run;
    this.#pace = options.pace ?? paceFor(options.runs.length);
  }

  async read(): Promise<RunReading | Verdict> {
    try {
      const isFirst = this.#watch === null;
      // The events of the first poll are wanted, too.
      if (isFirst && this.#options.onEvent !== undefined) await this.#stream.begun;
      const found = await (isFirst ? this.#enlist() : this.#options.client.getWatch(this.#ref));
      this.#contact.hasAnswered = true;
      if (found === null) return cannotTell(NOT_WATCHED);
      this.#watch = found;
      const before = this.#view;
      this.#view = viewOf(found);
      if (!isFirst) await this.#untilBrought(before, found.run_id);
    } catch (error) {
      if (!this.#contact.hasAnswered) throw error;
      this.#view = { ...this.#view, trouble: this.#passing(error) };
    }
    return {
      view: this.#view,
      isStale: this.#watch?.polls === this.#stalePolls,
      isHopeless: this.#troubleMs() >= this.#pace.patienceMs,
    };
  }

  async untilDue(): Promise<void> {
    const { run, trouble } = this.#view;
    const { firstCheckMs, recheckMs } = this.#pace;
    // An end that is seen again yields no event, either.
    const isSilent = run === null || isTerminalStatus(run.status);
    const pauseMs = isSilent && trouble === null ? firstCheckMs : recheckMs;
    const runId = this.#watch?.run_id ?? this.#ref.runId;
    await this.#stream.hints.next(runId, pauseMs, this.#options.signal);
  }

  close(): void {}

  /** A read may be ahead of the stream, which ends with the wait: an event of what may end it comes first. */
  async #untilBrought({ run: before }: RunView, runId: string): Promise<void> {
    const { onEvent, signal } = this.#options;
    const { status } = this.#view.run ?? {};
    if (onEvent === undefined || status === undefined || status === before?.status) return;
    if (!isTerminalStatus(status) && !isAwaiting(status)) return;
    await this.#stream.untilBrought(runId, `run.${status}`, signal);
  }

  /**
   * Registers the run without subscriptions unless it is watched, and requests a poll. A run that has ended is
   * registered where it may have begun another attempt since.
   */
  async #enlist(): Promise<WatchView | null> {
    const { client, registers = true } = this.#options;
    const watch = await client.getWatch(this.#ref);
    if (registers && (watch === null || isEndedEarly(watch))) return this.#register(watch);
    if (registers && watch?.state === 'finished' && watch.run?.attempt !== undefined) {
      // A token that may only read is shown the attempt that is known.
      return this.#register(watch).catch((error: unknown) => {
        if (error instanceof RunwatchError && error.code === 'forbidden') return watch;
        throw error;
      });
    }
    if (watch?.state === 'active') {
      this.#stalePolls = watch.polls;
      // A token that may only read cannot request a poll; the daemon polls by itself before long.
      await client.pollNow(this.#ref).catch((error: unknown) => {
        if (!(error instanceof RunwatchError)) throw error;
      });
    }
    return watch;
  }

  #register(watch: WatchView | null): Promise<WatchView> {
    const { runId, source } = this.#ref;
    const known = watch?.source ?? source;
    const quiet = { run_id: runId, endpoints: [], ...(known !== undefined && { source: known }) };
    return this.#options.client.register(quiet);
  }

  /** For how long nothing could be learned, ms. */
  #troubleMs(): number {
    const { now } = this.#options;
    if (this.#view.trouble === null) this.#troubleSince = null;
    else this.#troubleSince ??= now();
    return this.#troubleSince === null ? 0 : now() - this.#troubleSince;
  }

  /** The trouble that an error of the daemon stands for, if it may pass; else throws it. */
  #passing(error: unknown): { code: string; message: string } {
    if (error instanceof RunwatchError && error.retriable) {
      return { code: error.code, message: messageOf(error) };
    }
    throw error;
  }
}

/** Whether the watch ended before its run did. */
function isEndedEarly({ state }: WatchView): boolean {
  return state === 'cancelled' || state === 'expired';
}

const NOT_WATCHED = { code: 'watch_not_found', message: 'the daemon does not watch it any more' };

function viewOf({ state, run, error }: WatchView): RunView {
  return { state, run, trouble: error && { code: error.code, message: error.message } };
}

/**
 * Ends the pause before the next read of a watch. A hint that comes outside of a pause is kept for the
 * next one, so that no event is missed between a read and the pause after it.
 */
export class Hints {
  readonly #wakers = new Map<string, () => void>();
  readonly #kept = new Set<string>();
  readonly #wanted: ReadonlySet<string>;

  /** @param wanted the names that hints are kept for; others are dropped */
  constructor(wanted: Iterable<string>) {
    this.#wanted = new Set(wanted);
  }

  /** @returns whether the name is wanted */
  give(name: string): boolean {
    if (!this.#wanted.has(name)) return false;
    this.#kept.add(name);
    this.#wakers.get(name)?.();
    return true;
  }

  /** Resolves at the next hint, or after `ms` at the latest; rejects when the signal aborts. */
  async next(name: string, ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wakers.set(name, () => woken.abort());
    if (this.#kept.has(name)) woken.abort();
    try {
      await sleep(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) });
    } catch (error) {
      if (!woken.signal.aborted || signal.aborted) throw error;
    } finally {
      this.#wakers.delete(name);
      this.#kept.delete(name);
    }
  }
}
