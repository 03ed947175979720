import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 5;

/** A long wait takes little of the machine: its condition is tried after each tenth of the time so far. */
const PATIENCE = 0.1;
const MOST_MS = 250;

interface WaitForOptions {
  /** A bound for a hang, so generous: four minutes by default. */
  timeoutMs?: number;
  /** Name of the condition; a function is called on failure, to report the present state. */
  describe?: string | (() => string);
  /** How often the condition is tried, ms; for one that is costly. Else often, and more seldom later. */
  everyMs?: number;
}

/**
 * Waits until a condition gives something, and returns it. A condition that throws is not met yet:
 * expectations can be waited for.
 */
export async function waitFor<T>(
  condition: () => T | false | null | undefined | Promise<T | false | null | undefined>,
  { timeoutMs = 240_000, describe = 'the condition', everyMs }: WaitForOptions = {},
): Promise<T> {
  const start = Date.now();
  const deadline = start + timeoutMs;
  for (;;) {
    const tried = await attempt(condition);
    if (tried.met) return tried.value;
    if (Date.now() >= deadline) {
      const what = typeof describe === 'function' ? describe() : describe;
      const why = tried.error instanceof Error ? `: ${tried.error.message}` : '';
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}${why}`, { cause: tried.error });
    }
    await sleep(everyMs ?? pauseAfter(Date.now() - start));
  }
}

function pauseAfter(elapsedMs: number): number {
  return Math.min(Math.max(elapsedMs * PATIENCE, POLL_MS), MOST_MS);
}

type Attempt<T> = { met: true; value: T } | { met: false; error: unknown };

async function attempt<T>(
  condition: () => T | false | null | undefined | Promise<T | false | null | undefined>,
): Promise<Attempt<T>> {
  try {
    const value = await condition();
    return value === false || value === null || value === undefined
      ? { met: false, error: undefined }
      : { met: true, value };
  } catch (error) {
    return { met: false, error };
  }
}
