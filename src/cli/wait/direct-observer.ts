import { setTimeout as sleep } from 'node:timers/promises';
import { noLinks } from '../../core/run/links.ts';
import { type Random, fullJitter } from '../../core/backoff.ts';
import type { RunwatchEvent } from '../../core/event/event.ts';
import { nothingLearned } from '../../core/cadence/hazard.ts';
import { NO_LOAD } from '../../core/cadence/load.ts';
import type { PollPolicy } from '../../core/watch/observation.ts';
import { observe } from '../../core/watch/observe.ts';
import type { PollResult, FetchTrouble } from '../../core/run/snapshot.ts';
import { register } from '../../core/watch/register.ts';
import type { Watch } from '../../core/watch/watch.ts';
import type { RunReader, FollowRun } from '../context.ts';
import { cannotTell, judge, type RunView, type Verdict } from './verdict.ts';
import type { RunObserver } from './wait.ts';
import { heard, newHints, readFound, type HintStep } from '../../core/feed/stream-hint.ts';

/** The terminal shows every change, like an endpoint that subscribes to all events. */
const TERMINAL = { kind: 'endpoint' as const, endpoint: 'terminal' };

/** One run alone gives no statistics and no load. */
const CONTEXT = {
  statistics: nothingLearned,
  wants: () => true,
  load: NO_LOAD,
  lagMs: 0,
  mode: 'single' as const,
  isStreamed: false,
  nodes: null,
  // The state of the source is unknown here.
  answeredAt: Infinity,
  openSince: null,
  closedFor: null,
  isConsistent: true,
  // Its events are shown to no receiver that would drop repeats.
  linksOf: noLinks,
  newMark: () => '',
};

/** Requests a second that a source may take, by default. */
const REQUESTS_PER_SECOND = 10;

/** How long to wait is for the caller to say; a watch needs some end. */
const NO_TIMEOUT_MS = 365 * 86_400_000;

interface DirectObserverOptions {
  reader: RunReader;
  policy: PollPolicy;
  throughFeedback: boolean;
  /** How often a run is read while its stream is open. @default 15 s */
  streamedReadMs?: number | undefined;
  signal: AbortSignal;
  now: () => number;
  random: Random;
}

/**
 * Waits by asking Noxus itself: by event stream where there is one, else with the daemon's own rules of
 * polling, and within its budget.
 */
export function createDirectObserver(options: DirectObserverOptions): RunObserver {
  const pacer = new RequestPacer(1_000 / REQUESTS_PER_SECOND);
  return {
    settle: (runId, report) => settleDirectly(runId, report, { ...options, pacer }),
    close: () => options.reader.close(),
  };
}

async function settleDirectly(
  runId: string,
  report: (view: RunView) => void,
  options: DirectObserverOptions & { pacer: RequestPacer },
): Promise<Verdict> {
  const { reader, streamedReadMs = STREAMED_READ_MS } = options;
  const stream = new RunStream({ ...options, follow: reader.follow, streamedReadMs });
  try {
    await stream.begin(runId);
    return await settleBeside(stream, runId, { report, ...options });
  } finally {
    stream.close();
  }
}

/** Reads a run when its stream, or else its cadence, calls for it. */
async function settleBeside(
  stream: RunStream,
  runId: string,
  options: DirectObserverOptions & { pacer: RequestPacer; report: (view: RunView) => void },
): Promise<Verdict> {
  const { policy, random, now, throughFeedback, report } = options;
  let watch = newWatch(runId, policy, now());
  for (;;) {
    const beganAt = now();
    const result = await pollRun(runId, options);
    // A key that Noxus refuses at first is refused later, too: waiting would only hide the mistake.
    const isRefused = result.kind === 'unauthorized' || result.kind === 'forbidden';
    // So is an id that Noxus rejects.
    if ((isRefused || result.kind === 'rejected') && watch.run === null) {
      return cannotTell(troubleOf(result));
    }
    const observation = observe(watch, result, { ...CONTEXT, now: now(), beganAt, policy, random });
    ({ watch } = observation);
    const view = viewOf(observation.watch, observation.events);
    report(view);
    const verdict = judge(view, { throughFeedback });
    if (verdict !== null) return verdict;
    if (watch.unreachable && view.trouble !== null) return cannotTell(view.trouble);
    stream.read(result, beganAt);
    await stream.untilDue(Math.max(0, (watch.nextPollAt ?? 0) - now()));
  }
}

function newWatch(runId: string, { minIntervalMs }: PollPolicy, now: number): Watch {
  const request = { source: 'default', runId, subscriptions: [TERMINAL] };
  const defaults = { timeoutMs: NO_TIMEOUT_MS, minIntervalMs, profile: 'normal' as const };
  return register(null, request, { now, defaults }).watch;
}

/** One poll of the run, unless Noxus has asked for a pause. */
async function pollRun(
  runId: string,
  { pacer, now, signal, reader }: DirectObserverOptions & { pacer: RequestPacer },
): Promise<PollResult> {
  await sleep(pacer.reserve(now()), undefined, { signal });
  const pause = pacer.pauseAt(now());
  if (pause !== null) return pause;
  const outcome = await reader.readRun(runId, { signal });
  if (outcome.kind === 'rate_limited' && outcome.retryAfterMs !== null) {
    pacer.pause(outcome.message, now() + outcome.retryAfterMs);
  }
  return outcome;
}

function viewOf({ state, run, trouble }: Watch, events: readonly RunwatchEvent[]): RunView {
  const eventError = events.find(({ data }) => data.error !== undefined)?.data.error;
  const reason = eventError ?? (trouble && troubleOf(trouble));
  return { state, run, trouble: reason && { code: reason.code, message: reason.message } };
}

function troubleOf({ kind, message }: { kind: string; message: string }) {
  return { code: kind, message };
}

/** Spaces the requests of one process to a source, and holds them back while the source is paused. */
export class RequestPacer {
  readonly #spacingMs: number;
  #nextSlotAt = 0;
  #pause: { message: string; untilMs: number } | null = null;

  /** @param spacingMs least time between two requests */
  constructor(spacingMs: number) {
    this.#spacingMs = spacingMs;
  }

  /** Takes the next free slot. @returns how long to wait for it, ms */
  reserve(now: number): number {
    const slotAt = Math.max(now, this.#nextSlotAt);
    this.#nextSlotAt = slotAt + this.#spacingMs;
    return slotAt - now;
  }

  /** The source takes no requests until then. A shorter pause never ends a longer one. */
  pause(message: string, untilMs: number): void {
    if (this.#pause !== null && this.#pause.untilMs >= untilMs) return;
    this.#pause = { message, untilMs };
  }

  /** What stands in the way of a request at a time; null when it may go. */
  pauseAt(now: number): FetchTrouble | null {
    if (this.#pause === null || this.#pause.untilMs <= now) return null;
    const { message, untilMs } = this.#pause;
    return { kind: 'rate_limited', retryAfterMs: untilMs - now, message };
  }
}

/** While a stream is open, the run is read this often, for what streams may not tell, ms. */
const STREAMED_READ_MS = 15_000;

/** How long the first read waits for the stream, ms. */
const BEGIN_MS = 1_000;

/** From the break of a stream until it is opened again. */
const REOPEN = { baseMs: 1_000, maxMs: 60_000 };

interface RunStreamOptions {
  /** Absent where no streams are followed. */
  follow?: FollowRun | undefined;
  /** How often the run is read while the stream is open. */
  streamedReadMs: number;
  /** Spaces the requests of all runs. */
  pacer: { reserve(now: number): number };
  signal: AbortSignal;
  now: () => number;
  random: Random;
}

/** The event stream of a run for which the command line waits: it says when a read is worth while. */
class RunStream {
  private hints = newHints(null);
  private isLive = false;
  private etag: string | null = null;
  private readInMs: number | null = null;
  private wake: () => void = () => undefined;
  private readonly closing = new AbortController();
  private readonly signal: AbortSignal;

  constructor(private readonly options: RunStreamOptions) {
    this.signal = AbortSignal.any([options.signal, this.closing.signal]);
  }

  /** Opens the stream, and waits until it is open, or not to be had. */
  async begin(runId: string): Promise<void> {
    const { follow } = this.options;
    if (follow === undefined) return;
    const begun = new Promise<void>((resolve) => (this.wake = resolve));
    void this.keep(follow, runId).catch(() => undefined);
    // Until the request is under way, nothing else keeps the process from its end.
    const over = new AbortController();
    const patience = sleep(BEGIN_MS, undefined, over).catch(() => undefined);
    await Promise.race([begun, patience]);
    over.abort();
  }

  close(): void {
    this.closing.abort();
  }

  /** Takes in a read of the run. */
  read(result: PollResult, askedAt: number): void {
    if (result.kind !== 'run') return;
    const { status } = result.run;
    this.take(readFound(this.hints, { status, askedAt }, this.options.now()));
  }

  /** Waits until the next read is due. @param delayMs by the cadence, where no stream is open */
  async untilDue(delayMs: number): Promise<void> {
    const woken = new Promise<void>((resolve) => (this.wake = resolve));
    const ms = this.readInMs ?? (this.isLive ? this.options.streamedReadMs : delayMs);
    this.readInMs = null;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.options.signal]);
    try {
      await Promise.race([sleep(ms, undefined, { signal }), woken]);
    } finally {
      over.abort();
    }
  }

  private async keep(follow: FollowRun, runId: string): Promise<void> {
    const { random, pacer, now } = this.options;
    const { signal } = this;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      await sleep(pacer.reserve(now()), undefined, { signal, ref: false });
      const { kind } = await follow(runId, {
        etag: this.etag,
        signal,
        onLive: () => {
          this.isLive = true;
          this.wake();
        },
        onNote: ({ status, redisId }) => {
          this.etag = redisId ?? this.etag;
          if (status === null) return;
          this.take(heard(this.hints, status, { now: this.options.now(), isStartWanted: true }));
        },
      });
      const wasLive = this.isLive;
      this.isLive = false;
      if (this.hints.pending === null) this.wake();
      if (kind !== 'ended' || !wasLive) return;
      await sleep(fullJitter(REOPEN, attempt, random), undefined, { signal, ref: false });
    }
  }

  private take(step: HintStep): void {
    this.hints = step.hints;
    this.readInMs = step.readInMs;
    if (step.readInMs === 0) this.wake();
  }
}
