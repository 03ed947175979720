import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../core/backoff.ts';
import type { RunwatchEvent } from '../../core/event/event.ts';
import { nothingLearned } from '../../core/cadence/hazard.ts';
import { NO_LOAD } from '../../core/cadence/load.ts';
import type { PollPolicy } from '../../core/watch/observation.ts';
import { observe } from '../../core/watch/observe.ts';
import type { PollResult, FetchTrouble } from '../../core/run/snapshot.ts';
import { register } from '../../core/watch/register.ts';
import type { Watch } from '../../core/watch/watch.ts';
import type { RunReader } from '../context.ts';
import { cannotTell, judge, type RunView, type Verdict } from './verdict.ts';
import type { RunObserver } from './wait.ts';

/** Whoever waits at a terminal sees how far the run has come, as an endpoint that wants everything. */
const TERMINAL = { kind: 'endpoint' as const, endpoint: 'terminal' };

/** One run by itself tells nothing of others, and is no load. */
const GROUND = {
  statistics: nothingLearned,
  wants: () => true,
  load: NO_LOAD,
  lagMs: 0,
  isStreamed: false,
  // Of the source no more is known here than what it says of this run.
  answeredAt: Infinity,
  openSince: null,
  closedFor: null,
  // Its events are shown to no receiver that would drop repeats.
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
  signal: AbortSignal;
  now: () => number;
  random: Random;
}

/** Waits by asking Noxus itself, with the daemon's own rules of polling, and within its budget. */
export function createDirectObserver(options: DirectObserverOptions): RunObserver {
  const gate = new RequestPacer(1_000 / REQUESTS_PER_SECOND);
  return {
    settle: (runId, report) => settleDirectly(runId, report, { ...options, gate }),
    close: () => options.reader.close(),
  };
}

async function settleDirectly(
  runId: string,
  report: (view: RunView) => void,
  options: DirectObserverOptions & { gate: RequestPacer },
): Promise<Verdict> {
  const { policy, random, now, signal, throughFeedback } = options;
  let watch = newWatch(runId, policy, now());
  for (;;) {
    const beganAt = now();
    const result = await lookAt(runId, options);
    // A key that has never opened anything will not begin to: waiting would only hide the mistake.
    const isRefused = result.kind === 'unauthorized' || result.kind === 'forbidden';
    // Nor will an id that Noxus rejects become one.
    if ((isRefused || result.kind === 'rejected') && watch.run === null) {
      return cannotTell(troubleOf(result));
    }
    const observation = observe(watch, result, { ...GROUND, now: now(), beganAt, policy, random });
    ({ watch } = observation);
    const view = viewOf(observation.watch, observation.events);
    report(view);
    const verdict = judge(view, { throughFeedback });
    if (verdict !== null) return verdict;
    if (watch.unreachable && view.trouble !== null) return cannotTell(view.trouble);
    await sleep(Math.max(0, (watch.nextPollAt ?? 0) - now()), undefined, { signal });
  }
}

function newWatch(runId: string, { minIntervalMs }: PollPolicy, now: number): Watch {
  const request = { source: 'default', runId, subscriptions: [TERMINAL] };
  const defaults = { timeoutMs: NO_TIMEOUT_MS, minIntervalMs, profile: 'normal' as const };
  return register(null, request, { now, defaults }).watch;
}

/** One look at the run, unless Noxus has asked for quiet. */
async function lookAt(
  runId: string,
  { gate, now, signal, reader }: DirectObserverOptions & { gate: RequestPacer },
): Promise<PollResult> {
  await sleep(gate.reserve(now()), undefined, { signal });
  const pause = gate.pauseAt(now());
  if (pause !== null) return pause;
  const outcome = await reader.readRun(runId, { signal });
  if (outcome.kind === 'rate_limited' && outcome.retryAfterMs !== null) {
    gate.pause(outcome.message, now() + outcome.retryAfterMs);
  }
  return outcome;
}

function viewOf({ state, run, trouble }: Watch, events: readonly RunwatchEvent[]): RunView {
  const told = events.find(({ data }) => data.error !== undefined)?.data.error;
  const reason = told ?? (trouble && troubleOf(trouble));
  return { state, run, trouble: reason && { code: reason.code, message: reason.message } };
}

function troubleOf({ kind, message }: { kind: string; message: string }) {
  return { code: kind, message };
}

/** Spaces the requests of one process to a source, and keeps them back while it asks for quiet. */
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
