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

/**
 * Runs a task now and then, never twice at a time; one that throws is tried again the next time. A
 * turn leaves nothing behind: `AbortSignal.any` would add an entry to a signal that lives as long as
 * the process, 2^24 of which are fatal.
 */
export function startPeriodic(
  task: () => Promise<void>,
  { everyMs, onError }: PeriodicOptions,
): Periodic {
  const stop = new AbortController();
  let isTriggered = false;
  let wake: (() => void) | null = null;

  async function turn(): Promise<void> {
    try {
      await task();
    } catch (error) {
      onError(error);
    }
  }

  function pause(): Promise<void> {
    return new Promise((resolve) => {
      if (stop.signal.aborted || isTriggered) return resolve();
      const timer = setTimeout(resolve, everyMs).unref();
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      isTriggered = false;
      await turn();
      await pause();
      wake = null;
    }
  }

  const running = loop();
  return {
    trigger() {
      isTriggered = true;
      wake?.();
    },
    async stop() {
      stop.abort();
      wake?.();
      await running;
    },
  };
}
