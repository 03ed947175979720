import { setTimeout as sleep } from 'node:timers/promises';
import { noLinks } from '../../core/run/links.ts';
import type { Random } from '../../core/backoff.ts';
import type { RunwatchEvent } from '../../core/event/event.ts';
import { nothingLearned } from '../../core/cadence/hazard.ts';
import { NO_LOAD } from '../../core/cadence/load.ts';
import type { PollPolicy } from '../../core/watch/observation.ts';
import { observe } from '../../core/watch/observe.ts';
import type { PollResult, FetchTrouble, RunSnapshot } from '../../core/run/snapshot.ts';
import { register } from '../../core/watch/register.ts';
import type { Watch } from '../../core/watch/watch.ts';
import { FollowedRun, type Follower } from '../../source/followed-run.ts';
import type { RunReader } from '../local/run-reader.ts';
import { WaitObserver, type RunAccount, type RunReading } from '../../client/wait-observer.ts';
import { cannotTell, type RunView, type Verdict } from '../../client/wait-verdict.ts';
import type { StreamEnd, StreamListener } from '../../core/feed/run-stream.ts';
import type { HintStep } from '../../core/feed/stream-hint.ts';
import type { Permit } from '../../core/source/rate-limit.ts';
import type { AskedRequest } from '../../core/source/throttle.ts';

/** The terminal shows every change, like an endpoint that subscribes to all events. */
const TERMINAL = { kind: 'endpoint' as const, endpoint: 'terminal' };

/** One run alone gives no statistics and no load. */
const CONTEXT = {
  label: 'Noxus',
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

/** While a stream is open, the run is read this often, for what streams may not tell, ms. */
const STREAMED_READ_MS = 15_000;

/** How long the first read waits for the stream, ms. */
const BEGIN_MS = 1_000;

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
export function createDirectObserver(options: DirectObserverOptions): WaitObserver {
  const pacer = new RequestPacer(1_000 / REQUESTS_PER_SECOND);
  const accounts = {
    open: (runId: string) => new DirectAccount(runId, options, pacer),
    close: () => options.reader.close(),
  };
  return new WaitObserver(accounts, options.throughFeedback);
}

/** What Noxus says of a run: it is read when its stream, or else its cadence, calls for that. */
class DirectAccount implements RunAccount, Follower {
  private readonly run: FollowedRun;
  private watch: Watch;
  /** The last read, until the stream knows of it. */
  private unheard: { run: RunSnapshot; beganAt: number } | null = null;
  private hasBegun = false;
  private readInMs: number | null = null;
  private wake: () => void = () => undefined;

  constructor(
    private readonly runId: string,
    private readonly options: DirectObserverOptions,
    private readonly pacer: RequestPacer,
  ) {
    this.watch = newWatch(runId, options.policy, options.now());
    this.run = new FollowedRun(this, this.watch);
  }

  async read(): Promise<RunReading | Verdict> {
    if (!this.hasBegun && this.options.reader.follow !== undefined) await this.begin();
    this.hasBegun = true;
    const { policy, random, now } = this.options;
    const beganAt = now();
    const result = await this.poll();
    // A key that Noxus refuses at first is refused later, too: waiting would only hide the mistake.
    const isRefused = result.kind === 'unauthorized' || result.kind === 'forbidden';
    // So is an id that Noxus rejects.
    if ((isRefused || result.kind === 'rejected') && this.watch.run === null) {
      return cannotTell(troubleOf(result));
    }
    const context = { ...CONTEXT, now: now(), beganAt, policy, random };
    const { watch, events } = observe(this.watch, result, context);
    this.watch = watch;
    this.unheard = result.kind === 'run' ? { run: result.run, beganAt } : null;
    return { view: viewOf(watch, events), isStale: false, isHopeless: watch.unreachable };
  }

  close(): void {
    this.run.close();
  }

  /** Opens the stream, and waits until it is open, or not to be had. */
  private async begin(): Promise<void> {
    const following = this.claimPermit().then((permit) => this.run.follow(permit));
    // It ends with the wait, and reads show all that matters.
    following.catch(() => undefined);
    // Until the request is under way, nothing else keeps the process from its end.
    const over = new AbortController();
    const patience = sleep(BEGIN_MS, undefined, over).catch(() => undefined);
    await Promise.race([this.run.begun, patience]);
    over.abort();
  }

  /** One poll of the run, unless Noxus has asked for a pause. */
  private async poll(): Promise<PollResult> {
    const { pacer } = this;
    const { now, signal, reader } = this.options;
    await sleep(pacer.reserve(now()), undefined, { signal });
    const pause = pacer.pauseAt(now());
    if (pause !== null) return pause;
    const outcome = await reader.readRun(this.runId, { signal });
    if (outcome.kind === 'rate_limited' && outcome.retryAfterMs !== null) {
      pacer.pause(outcome.message, now() + outcome.retryAfterMs);
    }
    return outcome;
  }

  async untilDue(): Promise<void> {
    const { streamedReadMs = STREAMED_READ_MS, now } = this.options;
    const { watch, unheard } = this;
    if (unheard !== null) this.run.read(watch, unheard.run, unheard.beganAt);
    const delayMs = Math.max(0, (watch.nextPollAt ?? 0) - now());
    const woken = new Promise<void>((resolve) => (this.wake = resolve));
    const ms = this.readInMs ?? (this.run.liveAt === null ? delayMs : streamedReadMs);
    this.readInMs = null;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.options.signal]);
    try {
      await Promise.race([sleep(ms, undefined, { signal }), woken]);
    } finally {
      over.abort();
    }
  }

  now(): number {
    return this.options.now();
  }

  random(): number {
    return this.options.random();
  }

  asks(): AskedRequest {
    return { at: this.now(), access: '' };
  }

  async openStream(runId: string, listener: StreamListener): Promise<StreamEnd> {
    const { reader, signal } = this.options;
    const either = AbortSignal.any([listener.signal, signal]);
    return reader.follow?.(runId, { ...listener, signal: either }) ?? { kind: 'closed' };
  }

  /** Resolves once the pacer has room. Its timer does not keep a process alive that is done. */
  async claimPermit(): Promise<Permit> {
    const { signal } = this.options;
    await sleep(this.pacer.reserve(this.now()), undefined, { signal, ref: false });
    return { settle: () => undefined };
  }

  isStartWanted(): boolean {
    return true;
  }

  /** The run is read, which closes the gap before the stream. */
  opened(): void {
    this.wake();
  }

  async ended({ hints }: FollowedRun): Promise<boolean> {
    if (hints.pending === null) this.wake();
    return true;
  }

  act(_run: FollowedRun, { readInMs }: HintStep): void {
    this.readInMs = readInMs;
    if (readInMs === 0) this.wake();
  }

  /** Reads go by whether the stream is open. */
  evaluate(): void {}
}

function newWatch(runId: string, { minIntervalMs }: PollPolicy, now: number): Watch {
  const request = { source: 'default', runId, subscriptions: [TERMINAL] };
  const defaults = { timeoutMs: NO_TIMEOUT_MS, minIntervalMs, profile: 'normal' as const };
  return register(null, request, { now, defaults }).watch;
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
