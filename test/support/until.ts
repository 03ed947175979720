import { setTimeout as delay } from 'node:timers/promises';

/** Waits until a condition holds; an error counts as not holding yet. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 15_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let failure: unknown = null;
  for (;;) {
    try {
      if (await condition()) return;
      failure = null;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`not so within ${timeoutMs} ms: ${String(condition)}`, { cause: failure });
    }
    await delay(10);
  }
}
