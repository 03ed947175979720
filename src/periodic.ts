export interface Periodic {
  /** Runs the task now, or once more after the current run. */
  trigger(): void;
  /** Starts no more runs and waits for the current one. */
  stop(): Promise<void>;
}

interface PeriodicOptions {
  /** Pause between two runs, ms. */
  everyMs: number;
  onError: (error: unknown) => void;
}

/**
 * Repeats a task, never twice at a time; after an error the next run tries again. A run must leave nothing
 * behind: `AbortSignal.any` would add an entry to a signal that lives as long as the process, 2^24 of
 * which are fatal.
 */
export function startPeriodic(
  task: () => Promise<void>,
  { everyMs, onError }: PeriodicOptions,
): Periodic {
  const stop = new AbortController();
  let isTriggered = false;
  let wake: (() => void) | null = null;

  async function runOnce(): Promise<void> {
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
      await runOnce();
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
