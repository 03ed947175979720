import { setTimeout as delay } from 'node:timers/promises';

export interface Periodic {
  /** Runs the task now, or once more when it is running already. */
  trigger(): void;
  /** Starts no more runs and waits for the one that is on. */
  stop(): Promise<void>;
}

interface PeriodicOptions {
  /** From the end of one run to the start of the next, ms. */
  everyMs: number;
  onError: (error: unknown) => void;
}

/** Runs a task now and then, never twice at a time; one that throws is tried again the next time. */
export function startPeriodic(
  task: () => Promise<void>,
  { everyMs, onError }: PeriodicOptions,
): Periodic {
  const stop = new AbortController();
  let alarm = new AbortController();

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      alarm = new AbortController();
      const signal = AbortSignal.any([alarm.signal, stop.signal]);
      await task().catch(onError);
      // Being woken early is no error: the next run is due then.
      await delay(everyMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  const running = loop();
  return {
    trigger: () => alarm.abort(),
    async stop() {
      stop.abort();
      await running;
    },
  };
}
