/** Says how many events a line is due for; 0: none yet. Times are milliseconds. */
type LineRate = (key: string, now: number) => number;

interface LineRateOptions {
  /** Shortest time between two lines about one key. */
  intervalMs: number;
  /** Keys that are counted by themselves; those beyond are counted together. */
  keys: number;
}

/** What stands for the keys that find no room. */
const OTHERS = '';

/**
 * Many requests fail alike: while Redis is away all do, and so do those of a caller with a wrong token.
 * One line for each key and interval says it, with how many there were since the line before.
 */
export function createLineRate({ intervalMs, keys }: LineRateOptions): LineRate {
  const seen = new Map<string, { lineAt: number; count: number }>();
  /** Keys that have been quiet give their room away. */
  const makeRoom = (now: number) => {
    for (const [key, { lineAt }] of seen) {
      if (now - lineAt < intervalMs) return;
      if (key !== OTHERS) seen.delete(key);
    }
  };
  return (given, now) => {
    if (!seen.has(given) && seen.size >= keys) makeRoom(now);
    const key = seen.has(given) || seen.size < keys ? given : OTHERS;
    const { lineAt, count } = seen.get(key) ?? { lineAt: -Infinity, count: 0 };
    if (now - lineAt < intervalMs) {
      seen.set(key, { lineAt, count: count + 1 });
      return 0;
    }
    // The newest stand last.
    seen.delete(key);
    seen.set(key, { lineAt: now, count: 0 });
    return count + 1;
  };
}
