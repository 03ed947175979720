/** After this long an attempt waits for its receiver and hardly uses this process, ms. */
const YIELD_MS = 200;

/**
 * Lets `limit` tasks run at a time. The others wait, and the pools take turns, each first come, first
 * served: a pool with many holds up no other, and needs few connections. A task that takes longer than
 * `yieldMs` returns its permit and continues: it only waits for its receiver, and a few receivers that hang
 * must not block the others.
 */
export class Permits {
  private readonly waiting = new Map<string, (() => void)[]>();
  private free: number;

  constructor(
    limit: number,
    private readonly yieldMs = YIELD_MS,
  ) {
    this.free = limit;
  }

  /** Runs a task of a pool once a permit is free. */
  async run<Result>(pool: string, task: () => Promise<Result>): Promise<Result> {
    await this.take(pool);
    let held = true;
    const yieldOnce = () => {
      if (held) this.giveBack();
      held = false;
    };
    const timer = setTimeout(yieldOnce, this.yieldMs);
    try {
      return await task();
    } finally {
      clearTimeout(timer);
      yieldOnce();
    }
  }

  private async take(pool: string): Promise<void> {
    if (this.free > 0) {
      this.free -= 1;
      return;
    }
    await new Promise<void>((resolve) => {
      const before = this.waiting.get(pool);
      if (before === undefined) this.waiting.set(pool, [resolve]);
      else before.push(resolve);
    });
  }

  private giveBack(): void {
    const [turn] = this.waiting;
    if (turn === undefined) {
      this.free += 1;
      return;
    }
    const [pool, queue] = turn;
    const next = queue.shift();
    this.waiting.delete(pool);
    if (queue.length > 0) this.waiting.set(pool, queue);
    next?.();
  }
}
