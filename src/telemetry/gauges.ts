import { setTimeout as delay } from 'node:timers/promises';
import type { MemoryFigures } from '../core/redis-memory.ts';
import type { Maker } from './instruments.ts';

/** Counts of stored records, read at each scrape. */
export interface StoredCounts {
  watches: Record<string, number>;
  /** Active watches. */
  runs: { source: string; status: string; count: number }[];
  deliveries: Record<string, number>;
  /** Deliveries ever planned and still kept: the sum of those by state. */
  planned: number;
  /** Alerts of each rule by state. */
  alerts: { rule: string; state: string; count: number }[];
  /** Tables of duration statistics. */
  tables: number;
  /** Of Redis; null where it does not say. */
  memory: MemoryFigures | null;
}

/** The gauges of what is stored. */
export function createStoredGauges(make: Maker) {
  const up = make.gauge(
    'runwatch_store_up',
    'Whether Redis answered this scrape in time; while it is 0, the gauges of stored data are absent.',
  );
  const watches = make.gauge('runwatch_watches', 'Watches, by state.', ['state']);
  const runs = make.gauge(
    'runwatch_runs',
    'Active watches, by the source and status of their runs.',
    ['source', 'status'],
  );
  const deliveries = make.gauge(
    'runwatch_deliveries',
    'Deliveries, by state; their sum is runwatch_deliveries_planned.',
    ['state'],
  );
  const planned = make.gauge(
    'runwatch_deliveries_planned',
    'Pairs of an event and a subscription that gets it.',
  );
  const tables = make.gauge(
    'runwatch_learned_tables',
    'Tables of durations that were learned; beyond 20,000 the least recently used workflows are forgotten.',
  );
  const alerts = make.gauge(
    'runwatch_alerts',
    'Alerts, by rule and state; resolved ones are kept for a while.',
    ['rule', 'state'],
  );
  const memory = createMemoryGauges(make);
  return {
    set(counts: StoredCounts): void {
      up.set(1);
      memory.set(counts.memory);
      for (const [state, count] of Object.entries(counts.watches)) watches.set({ state }, count);
      for (const { source, status, count } of counts.runs) runs.set({ source, status }, count);
      for (const [state, count] of Object.entries(counts.deliveries)) {
        deliveries.set({ state }, count);
      }
      for (const { rule, state, count } of counts.alerts) alerts.set({ rule, state }, count);
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
      alerts.reset();
      planned.remove();
      tables.remove();
      memory.clear();
    },
  };
}

/** The gauges of Redis's memory. */
function createMemoryGauges(make: Maker) {
  const parts = make.gauge(
    'runwatch_store_memory_bytes',
    'Memory of Redis by what it is kept for: live is what may change yet, settled the records of runs that have ended. Counted once a minute; indexes are an estimate.',
    ['part'],
  );
  const limit = make.gauge(
    'runwatch_store_memory_limit_bytes',
    'The maxmemory of Redis; absent where there is none.',
  );
  const daysLeft = make.gauge(
    'runwatch_store_memory_days_left',
    'For how many days maxmemory lasts at the rate of the last day; absent without maxmemory, and where memory does not grow.',
  );
  limit.remove();
  daysLeft.remove();
  return {
    set(figures: MemoryFigures | null): void {
      this.clear();
      if (figures === null) return;
      for (const part of ['live', 'settled', 'indexes'] as const)
        parts.set({ part }, figures[part]);
      if (figures.max !== null) limit.set(figures.max);
      if (figures.daysLeft !== null) daysLeft.set(figures.daysLeft);
    },
    clear(): void {
      parts.reset();
      limit.remove();
      daysLeft.remove();
    },
  };
}

/** An endpoint's figures at a scrape. */
export interface EndpointFigures {
  /** Its name; `per-watch` for all webhooks of watches together. */
  name: string;
  /** Whether its deliveries are sent; null for per-watch webhooks, which are many receivers. */
  isUp: boolean | null;
  /** Waiting deliveries. */
  backlog: number;
  /** The age of the oldest of these, ms; null if it was not found in time. */
  oldestMs: number | null;
}

/** The gauges of endpoints; absent while the store cannot be read. */
export function createEndpointGauges(make: Maker) {
  const gauge = (name: string, help: string) => make.gauge(name, help, ['endpoint']);
  const up = gauge(
    'runwatch_endpoint_up',
    'Whether deliveries to a configured endpoint are sent: 0 while it is failing, paused or disabled.',
  );
  const backlog = gauge(
    'runwatch_endpoint_backlog',
    'Waiting deliveries of an endpoint, pending and parked.',
  );
  const oldest = gauge(
    'runwatch_endpoint_oldest_pending_seconds',
    'Age of the oldest waiting delivery of an endpoint; 0 if none waits.',
  );
  return {
    set(endpoints: readonly EndpointFigures[]): void {
      for (const { name, isUp, backlog: waiting, oldestMs } of endpoints) {
        if (isUp !== null) up.set({ endpoint: name }, isUp ? 1 : 0);
        backlog.set({ endpoint: name }, waiting);
        if (oldestMs !== null) oldest.set({ endpoint: name }, oldestMs / 1_000);
      }
    },
    clear(): void {
      up.reset();
      backlog.reset();
      oldest.reset();
    },
  };
}

/** A source's figures at a scrape. */
export interface SourceFigures {
  name: string;
  /** Whether it takes requests: false while it refuses the key, is unreachable or long paused. */
  isUp: boolean;
  /** The share of its rate limit that is in use. */
  usedRatio: number;
  /** False while polls of its runs contradict one another again and again. */
  isConsistent: boolean;
  /** How often its runs are read; null where that is not known. */
  reads: { usualMs: number | null; longestMs: number; stretched: number } | null;
  /** Its event streams; `doubted` is null where nothing is known of them. */
  streams: { open: number; wanted: number; doubted: readonly string[] | null };
}

/** The gauges of sources; absent while the store cannot be read. */
export function createSourceGauges(make: Maker) {
  const up = make.gauge(
    'runwatch_source_up',
    'Whether a source takes requests: 0 while it refuses the key, does not answer, has not answered yet or has asked for a long pause.',
    ['source'],
  );
  const consistent = make.gauge(
    'runwatch_source_consistent',
    'Whether polls of runs agree: 0 while they contradict one another again and again, as where a replica or cache of a source lags.',
    ['source'],
  );
  const used = make.gauge(
    'runwatch_source_budget_used_ratio',
    'Share of the rate limit of a source that is in use, over all processes.',
    ['source'],
  );
  const reads = createReadGauges(make);
  const streams = make.gauge(
    'runwatch_streams',
    'Event streams of a source over all processes: open ones, and how many are wanted.',
    ['source', 'state'],
  );
  const believed = make.gauge(
    'runwatch_streams_believed',
    'Whether streams of a source are trusted to report every kind of transition that was seen, so that runs are read less often.',
    ['source'],
  );
  return {
    set(sources: readonly SourceFigures[]): void {
      for (const one of sources) {
        const { name, isUp, isConsistent, usedRatio, reads: times, streams: found } = one;
        streams.set({ source: name, state: 'open' }, found.open);
        streams.set({ source: name, state: 'wanted' }, found.wanted);
        believed.set({ source: name }, found.doubted?.length === 0 ? 1 : 0);
        up.set({ source: name }, isUp ? 1 : 0);
        consistent.set({ source: name }, isConsistent ? 1 : 0);
        used.set({ source: name }, usedRatio);
        reads.set(name, times);
      }
    },
    clear(): void {
      up.reset();
      consistent.reset();
      used.reset();
      reads.clear();
      streams.reset();
      believed.reset();
    },
  };
}

/** How often runs are read; absent where that is not known. */
function createReadGauges(make: Maker) {
  const interval = make.gauge(
    'runwatch_read_interval_seconds',
    'From one read of a run to the next, alone or in a list: the median of its source, and the longest.',
    ['source', 'of'],
  );
  const stretched = make.gauge(
    'runwatch_runs_beyond_max_interval',
    'Runs that are read less often than max_interval asks for, since the rate limit is too short.',
    ['source'],
  );
  return {
    set(source: string, times: SourceFigures['reads']): void {
      if (times === null) return;
      if (times.usualMs !== null) interval.set({ source, of: 'median' }, times.usualMs / 1_000);
      interval.set({ source, of: 'longest' }, times.longestMs / 1_000);
      stretched.set({ source }, times.stretched);
    },
    clear(): void {
      interval.reset();
      stretched.reset();
    },
  };
}

/** A check of readiness. */
export interface CheckFigures {
  name: string;
  isOk: boolean;
}

export function createCheckGauge(make: Maker) {
  const ok = make.gauge(
    'runwatch_check_ok',
    'Whether a check of /readyz is ok: 0 while it is degraded or failed.',
    ['check'],
  );
  return {
    set(checks: readonly CheckFigures[]): void {
      for (const { name, isOk } of checks) ok.set({ check: name }, isOk ? 1 : 0);
    },
    clear: () => ok.reset(),
  };
}

interface Gauges<Figures> {
  set(figures: Figures): void;
  clear(): void;
}

/** Prometheus gives up a scrape after 10 s and then has no figure of this process, ms. */
const READ_TIMEOUT_MS = 500;

/**
 * Gauges with figures that are read at each scrape. If the read fails or takes too long they are absent:
 * zeros would mean an empty store.
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
