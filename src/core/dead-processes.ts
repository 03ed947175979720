/**
 * A process is dead when its counter has not risen for this long, ms. Each raises its own once a second and reads those
 * of the others then (`daemon/processes.ts`), so that what a killed one did is taken over within 5 s.
 */
const DEAD_MS = 2_900;

/** After a longer gap between two readings, the judge knows nothing of the time between, ms. */
const BROKEN_MS = 2_000;

/**
 * Finds dead processes by reading their counters once a second. Only time that the judge itself
 * observed counts: after a freeze, or without replies of the store, all measurements begin anew.
 * Otherwise a store that paused would make every process look dead. Returns a function from the
 * counters to the ids of dead processes.
 * @param now milliseconds of a clock that only runs forward
 */
export function createProcessJudge(own: string, now: () => number) {
  const seen = new Map<string, { counter: string; since: number }>();
  let lookedAt = -Infinity;

  return function judge(counters: ReadonlyMap<string, string>): string[] {
    const at = now();
    if (at - lookedAt > BROKEN_MS) seen.clear();
    lookedAt = at;
    for (const id of seen.keys()) if (!counters.has(id)) seen.delete(id);
    for (const [id, counter] of counters) {
      if (seen.get(id)?.counter !== counter) seen.set(id, { counter, since: at });
    }
    return [...seen].flatMap(([id, { since }]) =>
      id !== own && at - since >= DEAD_MS ? [id] : [],
    );
  };
}

/**
 * After raising its counter, a process is sure to count as alive for this long, ms; with a margin.
 */
const SURE_MS = DEAD_MS - 400;

/** Whether a process may rely on its claims, or may have counted as dead meanwhile. */
export interface Pulse {
  /**
   * Records that the store raised the counter.
   * @param askedAt when the process asked for it
   * @returns whether claims are sure again that were not before
   */
  raised(askedAt: number): boolean;
  /** Whether a claim made now surely stands. */
  isSure(): boolean;
  /** Whether no judge can have counted the process as dead since a time. */
  isUnbrokenSince(time: number): boolean;
}

/**
 * The process's own side of the judge. A process that was frozen, or got no replies, for longer
 * than the judge waits may have lost its claims. It must not act on claims from before that.
 * @param now milliseconds of a clock that only runs forward
 */
export function createPulse(now: () => number): Pulse {
  let lastAskedAt: number | null = null;
  let unbrokenFrom = -Infinity;
  // Before its first raise a process has no counter, so no judge knows it.
  const isSure = () => lastAskedAt === null || now() - lastAskedAt <= SURE_MS;
  return {
    raised(askedAt) {
      const wasSure = isSure();
      if (!wasSure) unbrokenFrom = now();
      lastAskedAt = askedAt;
      return !wasSure && isSure();
    },
    isSure,
    isUnbrokenSince: (time) => isSure() && time >= unbrokenFrom,
  };
}

/** When each process's counter was last seen to rise, milliseconds since the epoch. */
export class Heartbeats {
  private readonly seen = new Map<string, { counter: string; at: number }>();

  note(counters: ReadonlyMap<string, string>, now: number): void {
    for (const id of this.seen.keys()) if (!counters.has(id)) this.seen.delete(id);
    for (const [id, counter] of counters) {
      if (this.seen.get(id)?.counter !== counter) this.seen.set(id, { counter, at: now });
    }
  }

  /** The processes with a counter, and when it last rose. */
  all(): [id: string, at: number][] {
    return [...this.seen].map(([id, { at }]) => [id, at]);
  }
}
