import { setMaxListeners } from 'node:events';
import type { WaitObserver } from './wait-observer.ts';
import type { RunView, Verdict } from './wait-verdict.ts';

interface SettleOptions {
  /** Everything that the observer does must end with the signal. */
  openObserver: (signal: AbortSignal) => Promise<WaitObserver>;
  /** Ends with the first run that there is a verdict on. */
  any?: boolean | undefined;
  /** Undefined to wait for as long as it takes. */
  timeoutMs: number | undefined;
  signal: AbortSignal;
  /** Called after every read of a run. */
  onUpdate: (runId: string, view: RunView) => void;
  onVerdict: (runId: string, verdict: Verdict) => void;
}

/** What a wait came to for one run. */
export interface SettledRun {
  runId: string;
  verdict: Verdict;
  /** As it was read last; null where it never was. */
  view: RunView | null;
}

/** Waits for runs to their verdicts, in the order of the ids. Throws where the signal aborts. */
export async function settleRuns(
  runIds: readonly string[],
  { openObserver, any, timeoutMs, signal: ended, onUpdate, onVerdict }: SettleOptions,
): Promise<SettledRun[]> {
  const done = new AbortController();
  const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([
    ended,
    done.signal,
    ...(deadline === undefined ? [] : [deadline]),
  ]);
  // Each run waits for it, and there may be thousands.
  setMaxListeners(0, signal);
  const observer = await openObserver(signal);
  const waitFor = async (runId: string): Promise<SettledRun> => {
    let view: RunView | null = null;
    const verdict = await observer
      .settle(runId, (latest) => onUpdate(runId, (view = latest)))
      .catch((error: unknown): Verdict => {
        if (deadline?.aborted === true && !ended.aborted) return TIMED_OUT;
        throw error;
      });
    onVerdict(runId, verdict);
    return { runId, verdict, view };
  };
  try {
    const waits = runIds.map(waitFor);
    return any === true ? await firstOf(waits) : await Promise.all(waits);
  } finally {
    done.abort();
    observer.close();
  }
}

/** The first result alone; what becomes of the others is of no interest. */
async function firstOf(waits: Promise<SettledRun>[]): Promise<SettledRun[]> {
  for (const wait of waits) wait.catch(() => undefined);
  return waits.length === 0 ? [] : [await Promise.race(waits)];
}

const TIMED_OUT: Verdict = {
  kind: 'timed_out',
  reason: { code: 'timed_out', message: 'the time for waiting is up' },
};
