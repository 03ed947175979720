import { setTimeout as delay } from 'node:timers/promises';

interface Gauges<Figures> {
  set(figures: Figures): void;
  clear(): void;
}

/** Prometheus gives up a scrape after 10 s and then has no figure of this process, ms. */
const READ_TIMEOUT_MS = 500;

/**
 * Gauges with figures that are read at each scrape. Where reading fails or takes too long they are
 * absent: zeros would mean an empty store.
 */
export function scraped<Figures>(gauges: Gauges<Figures>, initial: () => Promise<Figures>) {
  let figures = initial;
  return {
    readFrom(source: () => Promise<Figures>): void {
      figures = source;
    },
    async read(): Promise<void> {
      const found = await inTime(figures());
      gauges.clear();
      if (found !== null) gauges.set(found);
    },
  };
}

async function inTime<Figures>(figures: Promise<Figures>): Promise<Figures | null> {
  const known = figures.catch(() => null);
  return Promise.race([known, delay(READ_TIMEOUT_MS, null, { ref: false })]);
}
