import { once } from 'node:events';
import { RunwatchError } from './core/errors.ts';

/** Reserved for each later releaser, so that a slow one cannot use up their time, ms. */
const RESERVE_MS = 250;
/** Under npm one Ctrl-C arrives twice within moments: from the terminal, and passed on by npm. */
const ECHO_MS = 100;
const LATE = Symbol('late');

/** Releases one part within so many milliseconds; after that it is abandoned. */
export type Release = (remainingMs: number) => Promise<unknown> | void;

interface Log {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The result of a stop, by the names of the releasers. */
interface StopReport {
  /** Releasers that did not end in time. */
  late: string[];
  failed: string[];
}

export interface Lifecycle {
  /** Aborts when the stop begins. */
  readonly stopping: AbortSignal;
  /** Says that the process cannot go on; the first error counts. */
  fail(error: RunwatchError): void;
  /** Resolves with the error by which the process cannot go on. */
  readonly failed: Promise<RunwatchError>;
  /**
   * Registers the releaser of a part that was just started. After a stop has begun it is called as well,
   * and the start that registers it ends with an error.
   * @throws RunwatchError `stopping`
   */
  onStop(name: string, release: Release): void;
  /**
   * Calls the releasers one after another, the last registered first, and never throws. Further
   * calls get the report of the first.
   * @param timeoutMs for all of them together
   */
  stop(timeoutMs: number): Promise<StopReport>;
}

/**
 * Keeps the parts that were started, and releases them in reverse order.
 * @param now milliseconds of a clock that never goes back
 */
export function createLifecycle(log: Log, now: () => number = () => performance.now()): Lifecycle {
  const releasers: { name: string; release: Release }[] = [];
  const report: StopReport = { late: [], failed: [] };
  const stopping = new AbortController();
  let stopped: Promise<StopReport> | null = null;
  const failing = new AbortController();
  const failed = once(failing.signal, 'abort').then(() => failing.signal.reason as RunwatchError);

  const releaseOne = async (name: string, release: Release, budgetMs: number): Promise<void> => {
    const outcome = await within(budgetMs, async () => release(budgetMs)).catch(
      (error: unknown) => {
        report.failed.push(name);
        log.error({ err: error, releaser: name }, 'a part of the process could not be stopped');
      },
    );
    if (outcome !== LATE) return;
    report.late.push(name);
    log.error(
      { releaser: name, budget_ms: budgetMs },
      'a part of the process did not stop in time',
    );
  };

  const releaseAll = async (timeoutMs: number): Promise<StopReport> => {
    const deadline = now() + timeoutMs;
    stopping.abort();
    for (let next = releasers.pop(); next !== undefined; next = releasers.pop()) {
      const budgetMs = budgetFor(deadline - now(), releasers.length);
      await releaseOne(next.name, next.release, budgetMs);
    }
    return report;
  };

  return {
    stopping: stopping.signal,
    failed,
    fail: (error) => failing.abort(error),
    onStop(name, release) {
      releasers.push({ name, release });
      if (stopped === null) return;
      // A stop that is over calls no more releasers.
      void stopped.then(() => releaseAll(RESERVE_MS));
      throw new RunwatchError(`stopped while ${name} was starting`, { code: 'stopping' });
    },
    stop(timeoutMs) {
      stopped ??= releaseAll(timeoutMs);
      return stopped;
    },
  };
}

/** Milliseconds for the next releaser, with `after` more to come; where time is short, its share. */
export function budgetFor(remainingMs: number, after: number): number {
  const left = Math.max(0, remainingMs);
  const share = left / (after + 1);
  return Math.floor(left - after * Math.min(RESERVE_MS, share));
}

async function within(ms: number, work: () => Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, LATE)));
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Runs a start that registers its releasers as it goes. If it fails, they are called before the error is
 * thrown.
 */
export async function startOrUndo<Result>(
  lifecycle: Lifecycle,
  undoTimeoutMs: number,
  start: () => Promise<Result>,
): Promise<Result> {
  try {
    return await start();
  } catch (error) {
    await lifecycle.stop(undoTimeoutMs);
    throw error;
  }
}

/** The part of `process` that signals come from. */
export interface SignalSource {
  on(signal: StopSignal, listener: () => void): unknown;
}

type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

interface SignalOptions {
  source: SignalSource;
  /** Stops all parts, in bounded time. */
  stop: () => Promise<unknown>;
  /** Serves a SIGHUP, unless that means a stop. @returns whether it did */
  hangUp: () => boolean;
  /** Ends the process at once. */
  exitNow: (code: number) => void;
  log: Log;
  now?: () => number;
}

/**
 * The first SIGINT or SIGTERM stops gracefully, the second ends the process at once with 1.
 * @returns the exit code of a graceful stop: 0, also when a part did not end in time, since the next
 *   process takes up unfinished work
 */
export function untilStoppedBySignal(options: SignalOptions): Promise<number> {
  const { source, stop, hangUp, exitNow, log, now = () => performance.now() } = options;
  return new Promise((resolve, reject) => {
    let first: { signal: StopSignal; at: number } | null = null;
    const onSignal = (signal: StopSignal): void => {
      if (first !== null) {
        const isEcho = signal === 'SIGINT' && first.signal === signal && now() - first.at < ECHO_MS;
        if (!isEcho) exitNow(1);
        return;
      }
      first = { signal, at: now() };
      log.info({ signal }, 'stopping; a second signal ends the process at once');
      stop().then(() => resolve(0), reject);
    };
    source.on('SIGINT', () => onSignal('SIGINT'));
    source.on('SIGTERM', () => onSignal('SIGTERM'));
    source.on('SIGHUP', () => {
      if (!hangUp()) onSignal('SIGHUP');
    });
  });
}

/** Signals that mean nothing here. By the first Node opens its debugger, the others end the process. */
const IGNORED = ['SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const;

/** Says of each signal that means nothing that it came, and does nothing else. */
export function ignoreOtherSignals({
  source,
  log,
}: {
  source: { on(signal: (typeof IGNORED)[number], listener: () => void): unknown };
  log: Pick<Log, 'info'>;
}): void {
  for (const signal of IGNORED) {
    source.on(signal, () => log.info({ signal }, 'a signal without a meaning here was ignored'));
  }
}

interface FaultOptions {
  /** The part of `process` that errors come from which nothing caught, rejections among them. */
  source: { on(event: 'uncaughtException', listener: (error: unknown) => void): unknown };
  /** Stops all parts, in bounded time. */
  stop: () => Promise<unknown>;
  /** Ends the process at once. */
  exitNow: (code: number) => void;
  log: { fatal(fields: object, message: string): void };
}

/**
 * After an error that nothing caught, the state of the process is unknown. It says so in one line, hands back
 * what it has claimed, and ends with 1, so that its supervisor starts it again.
 */
export function endOnFault({ source, stop, exitNow, log }: FaultOptions): void {
  let isEnding = false;
  source.on('uncaughtException', (error) => {
    if (isEnding) return;
    isEnding = true;
    log.fatal({ err: error }, 'an error that nothing caught ends the process');
    void endWith(1, { stop, exitNow });
  });
}

async function endWith(
  code: number,
  { stop, exitNow }: Pick<FaultOptions, 'stop' | 'exitNow'>,
): Promise<void> {
  await stop().catch(() => undefined);
  exitNow(code);
}
