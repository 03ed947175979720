import { RunwatchError } from '../core/errors.ts';
import type { DaemonClient, RunRef } from './client.ts';
import type { EventView } from './types.ts';
import { createDaemonObserver } from './wait-daemon.ts';
import { settleRuns } from './wait-settle.ts';
import type { RunView, VerdictKind } from './wait-verdict.ts';

/** How to wait for runs. */
export interface WaitOptions {
  /** Goes on while a run awaits human feedback, which else is a result. */
  throughFeedback?: boolean;
  /** Ends with the first run that has a result, and gives that alone. */
  any?: boolean;
  /** Until when at most; runs without a result then are `timed_out`. Else until their watches expire. */
  timeoutMs?: number;
  /** Ends the wait; it then throws. */
  signal?: AbortSignal;
  /** Called for each event of the runs until their results; one may be missed while the daemon is away. */
  onEvent?: (event: EventView) => void;
  /** Called after each read of a run. */
  onUpdate?: (runId: string, view: RunView) => void;
}

/** What the wait for a run came to, as `runwatch wait --json` gives it. */
export interface WaitResult {
  run_id: string;
  result: VerdictKind;
  /** As it was seen last; null where it never was. */
  run: RunView['run'];
  /** Why, where the result does not say it all. */
  error: { code: string; message: string } | null;
}

/**
 * Waits for runs of different ids by the daemon's watches; see `RunwatchClient.wait`.
 * @param connect gives a client whose requests end with the signal
 */
export async function waitForResults(
  connect: (signal: AbortSignal) => DaemonClient,
  asked: string | RunRef | readonly (string | RunRef)[],
  options: WaitOptions,
  ends: AbortSignal,
): Promise<WaitResult[]> {
  const { throughFeedback = false, any, timeoutMs, onEvent, onUpdate = () => undefined } = options;
  const runs = [asked].flat().map(refOf);
  const ids = runs.map(({ runId }) => runId);
  if (new Set(ids).size < ids.length) {
    const message = 'two of the runs have the same id: wait for those of one source at a time';
    throw new RunwatchError(message, { code: 'usage' });
  }
  const results = await settleRuns(ids, {
    openObserver: async (signal) =>
      createDaemonObserver({
        client: connect(signal),
        runs,
        throughFeedback,
        signal,
        now: Date.now,
        random: Math.random,
        onEvent,
      }),
    any,
    timeoutMs,
    signal: options.signal === undefined ? ends : AbortSignal.any([ends, options.signal]),
    onUpdate,
    onVerdict: () => undefined,
  });
  return results.map(({ runId, verdict, view }) => ({
    run_id: runId,
    result: verdict.kind,
    run: view?.run ?? null,
    error: verdict.reason,
  }));
}

function refOf(run: string | RunRef): RunRef {
  return typeof run === 'string' ? { runId: run, source: undefined } : run;
}
