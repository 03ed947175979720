/**
 * Lets at most `limit` pieces of work per key run at a time in this process; the rest wait in the
 * order in which they came.
 */
export function createTurns(limit: number) {
  const running = new Map<string, number>();
  const waiting = new Map<string, (() => void)[]>();

  function enter(key: string): Promise<void> | void {
    const count = running.get(key) ?? 0;
    if (count < limit) {
      running.set(key, count + 1);
      return undefined;
    }
    return new Promise((resolve) => {
      const queue = waiting.get(key);
      if (queue) queue.push(resolve);
      else waiting.set(key, [resolve]);
    });
  }

  /** Whoever waits takes over the place, so that the count stays; else it is given up. */
  function leave(key: string): void {
    const queue = waiting.get(key) ?? [];
    const next = queue.shift();
    if (queue.length === 0) waiting.delete(key);
    if (next) {
      next();
      return;
    }
    const count = (running.get(key) ?? 1) - 1;
    if (count === 0) running.delete(key);
    else running.set(key, count);
  }

  return async function inTurn<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    await enter(key);
    try {
      return await work();
    } finally {
      leave(key);
    }
  };
}
