/** A process is dead whose counter stood still for this long, ms. */
const DEAD_MS = 2_900;

/** Longer than this between two looks, contact was broken: nothing is known of that time, ms. */
const BROKEN_MS = 2_000;

/**
 * Tells which processes are dead, by looks at their counters once a second. Only time that this judge
 * has seen itself counts: where it was frozen, or the store did not answer, all begin anew, for a
 * store that paused makes every process look dead.
 * Returns a function from the counters to the ids of those that are dead.
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

/** For this long after it raised its counter no judge calls a process dead, ms; less, for safety. */
const SURE_MS = DEAD_MS - 400;

/** Whether a process may rely on what it has claimed, or was perhaps called dead meanwhile. */
export interface Pulse {
  /** Takes that the store has raised the counter. @param askedAt when it was asked to */
  raised(askedAt: number): void;
  /** Whether no judge can have called the process dead since a time. */
  isUnbrokenSince(time: number): boolean;
}

/**
 * The process's own side of the judge. One that was frozen, or got no replies, for longer than a judge
 * waits may have lost its claims without knowing it. What it claimed before that it must not act upon.
 * @param now milliseconds of a clock that only runs forward
 */
export function createPulse(now: () => number): Pulse {
  let lastAskedAt: number | null = null;
  let unbrokenFrom = -Infinity;
  // Before its first raise a process has no counter, and no judge knows it.
  const isSure = () => lastAskedAt === null || now() - lastAskedAt <= SURE_MS;
  return {
    raised(askedAt) {
      if (!isSure()) unbrokenFrom = now();
      lastAskedAt = askedAt;
    },
    isUnbrokenSince: (time) => isSure() && time >= unbrokenFrom,
  };
}
