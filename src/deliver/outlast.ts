import { setMaxListeners } from 'node:events';
import pRetry from 'p-retry';
import { RunwatchError } from '../core/errors.ts';

/** What is away for longer than this has most likely been given up by others, too, ms. */
const LONGEST_MS = 60_000;

/**
 * Makes a step that may be taken twice outlast a store that is away for a while: the receiver has
 * its message already, and a result that is forgotten would have it sent once more.
 * @param stopping ends the waiting
 */
export function outlasting<Input, Output>(
  step: (input: Input) => Promise<Output>,
  stopping: AbortSignal,
): (input: Input) => Promise<Output> {
  // As many listen as there are steps that wait.
  setMaxListeners(0, stopping);
  return async function outlast(input) {
    return step(input).catch((error: unknown) => {
      if (!isAway(error)) throw error;
      return pRetry(() => step(input), {
        retries: Infinity,
        maxRetryTime: LONGEST_MS,
        minTimeout: 100,
        maxTimeout: 1_000,
        signal: stopping,
        shouldRetry: ({ error: again }) => isAway(again),
      });
    });
  };
}

function isAway(error: unknown): boolean {
  return error instanceof RunwatchError && error.retriable;
}
