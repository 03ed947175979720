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
  let stopped = false;
  let alarm = new AbortController();

  async function loop(): Promise<void> {
    while (!stopped) {
      const { signal } = alarm;
      await task().catch(onError);
      await delay(everyMs, undefined, { signal, ref: false }).catch(() => {
        alarm = new AbortController();
      });
    }
  }

  const running = loop();
  return {
    trigger: () => alarm.abort(),
    async stop() {
      stopped = true;
      alarm.abort();
      await running;
    },
  };
}
