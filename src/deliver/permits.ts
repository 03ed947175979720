/** An attempt that has waited this long for its receiver uses next to nothing of this process. */
const YIELD_MS = 200;

/**
 * Lets `limit` pieces of work run at a time; the rest wait in the order in which they came. Work that
 * takes long gives its permit back while it goes on, since it only waits for somebody else: a few
 * receivers that hang cannot keep everybody else from being served.
 */
export function createPermits(limit: number, yieldMs = YIELD_MS) {
  const waiting: (() => void)[] = [];
  let free = limit;

  function giveBack(): void {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }

  async function take(): Promise<void> {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
  }

  return async function withPermit<Result>(work: () => Promise<Result>): Promise<Result> {
    await take();
    let held = true;
    const yieldOnce = () => {
      if (held) giveBack();
      held = false;
    };
    const timer = setTimeout(yieldOnce, yieldMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      yieldOnce();
    }
  };
}
