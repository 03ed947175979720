import { Gauge, type Registry } from 'prom-client';

/** Counts of stored records, read at each scrape. */
export interface StoredCounts {
  watches: Record<string, number>;
  /** Active watches. */
  runs: { source: string; status: string; count: number }[];
  deliveries: Record<string, number>;
  /** Deliveries ever planned and still kept: the sum of those by state. */
  planned: number;
  /** Tables of duration statistics. */
  tables: number;
}

/** The gauges of what is stored. */
export function createStoredGauges(registry: Registry) {
  const registers = [registry];
  const up = new Gauge({
    name: 'runwatch_store_up',
    help: 'Whether Redis answered this scrape in time; while it is 0, the gauges of stored data are absent.',
    registers,
  });
  const watches = new Gauge({
    name: 'runwatch_watches',
    help: 'Watches, by state.',
    labelNames: ['state'],
    registers,
  });
  const runs = new Gauge({
    name: 'runwatch_runs',
    help: 'Active watches, by the source and status of their runs.',
    labelNames: ['source', 'status'],
    registers,
  });
  const deliveries = new Gauge({
    name: 'runwatch_deliveries',
    help: 'Deliveries, by state; their sum is runwatch_deliveries_planned.',
    labelNames: ['state'],
    registers,
  });
  const planned = new Gauge({
    name: 'runwatch_deliveries_planned',
    help: 'Pairs of an event and a subscription that gets it.',
    registers,
  });
  const tables = new Gauge({
    name: 'runwatch_learned_tables',
    help: 'Tables of durations that were learned; beyond 20,000 the least recently used workflows are forgotten.',
    registers,
  });
  return {
    set(counts: StoredCounts): void {
      up.set(1);
      for (const [state, count] of Object.entries(counts.watches)) watches.set({ state }, count);
      for (const { source, status, count } of counts.runs) runs.set({ source, status }, count);
      for (const [state, count] of Object.entries(counts.deliveries)) {
        deliveries.set({ state }, count);
      }
      planned.set(counts.planned);
      tables.set(counts.tables);
    },
    /**
     * Gauges that are not set afterwards are absent: `reset` would leave one without labels at 0.
     */
    clear(): void {
      up.set(0);
      watches.reset();
      runs.reset();
      deliveries.reset();
      planned.remove();
      tables.remove();
    },
  };
}
