import { Gauge, type Registry } from 'prom-client';

/** A source's figures at a scrape. */
export interface SourceFigures {
  name: string;
  /** Whether it takes requests: false while it refuses the key, is unreachable or long paused. */
  isUp: boolean;
  /** The share of its rate limit that is in use. */
  usedRatio: number;
}

/** The gauges of sources; absent while the store cannot be read. */
export function createSourceGauges(registry: Registry) {
  const registers = [registry];
  const up = new Gauge({
    name: 'runwatch_source_up',
    help: 'Whether a source takes requests: 0 while it refuses the key, does not answer or has asked for a long pause.',
    labelNames: ['source'],
    registers,
  });
  const used = new Gauge({
    name: 'runwatch_source_budget_used_ratio',
    help: 'Share of the rate limit of a source that is in use, over all processes.',
    labelNames: ['source'],
    registers,
  });
  return {
    set(sources: readonly SourceFigures[]): void {
      for (const { name, isUp, usedRatio } of sources) {
        up.set({ source: name }, isUp ? 1 : 0);
        used.set({ source: name }, usedRatio);
      }
    },
    clear(): void {
      up.reset();
      used.reset();
    },
  };
}
