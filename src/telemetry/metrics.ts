import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { SUPPRESSIONS, type AlertCounts } from '../core/alert/alert.ts';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { countedReceiver } from '../core/delivery/receiver.ts';
import { isTerminalEvent, type RunwatchEvent } from '../core/event/event.ts';
import {
  createCheckGauge,
  createEndpointGauges,
  type CheckFigures,
  type EndpointFigures,
  createStoredGauges,
  type StoredCounts,
  createSourceGauges,
  type SourceFigures,
  scraped,
} from './gauges.ts';
import type { PageReport } from '../core/feed/record.ts';
import { processInstruments, processRecordings } from './process-metrics.ts';

interface RequestReport {
  kind: 'run' | 'list' | 'stream' | 'workflow';
  /** Null where no answer came. */
  status: number | null;
}

interface PollReport {
  watch: { source: string };
  outcome: string;
  events: RunwatchEvent[];
  /** From when the poll was due to its start, ms. */
  lagMs: number;
}

export type Metrics = ReturnType<typeof createMetrics>;

/**
 * Gauges of prom-client with names of counters. They are sums of others, such as
 * `nodejs_active_handles`.
 */
const MISNAMED = ['handles', 'requests', 'resources'].map((what) => `nodejs_active_${what}_total`);

/**
 * prom-client samples the delay of the event loop by a timer of 10 ms, which is a third of what an idle
 * daemon costs. A slower timer makes these figures wrong, since each contains the timer's period, so they
 * are left out. `nodejs_eventloop_lag_seconds` is kept: it is measured at each scrape.
 */
const LOOP_SAMPLE_MS = 60_000;
const SAMPLED = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'].map(
  (figure) => `nodejs_eventloop_lag_${figure}_seconds`,
);

/**
 * The process's metrics. Labels are names of sources and endpoints, event types, states: never run ids
 * or URLs.
 * @param countStored called at each scrape
 */
export function createMetrics(version: string, countStored: () => Promise<StoredCounts>) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_SAMPLE_MS });
  for (const name of [...MISNAMED, ...SAMPLED]) registry.removeSingleMetric(name);
  createBuildInfo(registry).set({ version }, 1);
  const instruments = createInstruments(registry);
  const stored = scraped(createStoredGauges(registry), countStored);
  const sources = scraped<SourceFigures[]>(createSourceGauges(registry), async () => []);
  const endpoints = scraped<EndpointFigures[]>(createEndpointGauges(registry), async () => []);
  const checks = scraped<CheckFigures[]>(createCheckGauge(registry), async () => []);
  return {
    registry,
    contentType: registry.contentType,
    async render(): Promise<string> {
      await Promise.all([stored.read(), sources.read(), endpoints.read(), checks.read()]);
      return registry.metrics();
    },
    /** Sets the source of sources' figures, read at each scrape. */
    ofSources: (figures: () => Promise<SourceFigures[]>): void => sources.readFrom(figures),
    /** Sets the source of endpoints' figures, read at each scrape. */
    ofEndpoints: (figures: () => Promise<EndpointFigures[]>): void => endpoints.readFrom(figures),
    /** Sets the source of the checks of readiness, read at each scrape. */
    ofChecks: (figures: () => Promise<CheckFigures[]>): void => checks.readFrom(figures),
    ...recordings(instruments),
    ...processRecordings(instruments),
    ...streamRecordings(instruments),
    ...alertRecordings(instruments),
  };
}

function createBuildInfo(registry: Registry) {
  return new Gauge({
    name: 'runwatch_build_info',
    help: 'The version of this process; always 1.',
    labelNames: ['version'],
    registers: [registry],
  });
}

function alertRecordings(instruments: ReturnType<typeof createInstruments>) {
  return {
    /** What became of events that match alert rules. */
    alertCounts(counts: Readonly<AlertCounts>): void {
      for (const reason of SUPPRESSIONS) {
        instruments.suppressed.inc({ reason }, counts[reason]);
      }
      instruments.matched.inc(counts.observed);
      instruments.notified.inc(counts.notified);
    },
    /** Events of groups that a rule may not have any more. */
    alertOverflow(rule: string, events: number): void {
      instruments.overflowed.inc({ rule }, events);
    },
  };
}

/** Recordings of single occurrences. */
function recordings(instruments: ReturnType<typeof createInstruments>) {
  return {
    request(source: string, { kind, status }: RequestReport): void {
      instruments.requests.inc({ source, kind, status: status ?? 'none' });
    },

    /** An end that was reported by a list is contradicted by a single poll. */
    contradicted(source: string): void {
      instruments.batchRuns.inc({ source, result: 'contradicted' });
    },

    list({ list: { source }, outcome, changed, unchanged, vanished }: PageReport): void {
      instruments.batchLooks.inc({ source, outcome });
      instruments.batchRuns.inc({ source, result: 'changed' }, changed);
      instruments.batchRuns.inc({ source, result: 'unchanged' }, unchanged);
      instruments.batchRuns.inc({ source, result: 'vanished' }, vanished);
    },

    discovered(source: string, runs: number): void {
      instruments.discovered.inc({ source }, runs);
    },

    poll({ watch, outcome, events, lagMs }: PollReport): void {
      instruments.polls.inc({ source: watch.source, outcome });
      instruments.pollLag.observe(Math.max(0, lagMs) / 1_000);
      for (const { type, data } of events) {
        instruments.events.inc({ type });
        // Other events of the same poll carry the same delay.
        if (isTerminalEvent(type) && data.detection_delay_ms !== null) {
          instruments.detectionDelay.observe(data.detection_delay_ms / 1_000);
        }
      }
    },

    overdue(source: string, { due, oldestMs }: { due: number; oldestMs: number | null }): void {
      instruments.pollsOverdue.set({ source }, due);
      instruments.oldestOverdue.set({ source }, Math.max(0, oldestMs ?? 0) / 1_000);
    },

    /** @param report.others null for a delivery that the message of another covered */
    attempt(report: { delivery: Delivery; attempt: Attempt; others: number | null }): void {
      const { delivery, attempt, others } = report;
      const result = attempt.error === null ? 'delivered' : attempt.error.code;
      instruments.attempts.inc({ state: delivery.state, result });
      if (others === null) return;
      instruments.endpointAttempts.inc({ endpoint: countedReceiver(delivery.endpoint), result });
      instruments.attemptDuration.observe(attempt.durationMs / 1_000);
    },
  };
}

/** Recordings of what event streams tell. */
function streamRecordings(instruments: ReturnType<typeof createInstruments>) {
  return {
    /** A transition became known first by a hint of a stream or list, or by a read. */
    known(labels: { source: string; kind: string; by: string }): void {
      instruments.known.inc(labels);
    },

    /** Three reads have contradicted what an event stream said. */
    wrongHint(source: string): void {
      instruments.wrongHints.inc({ source });
    },
  };
}

const DELAY_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

function createInstruments(registry: Registry) {
  const registers = [registry];
  return {
    ...pollInstruments(registers),
    ...streamInstruments(registers),
    ...overdueInstruments(registers),
    ...alertInstruments(registers),
    ...deliveryInstruments(registers),
    ...processInstruments(registers),
  };
}

function pollInstruments(registers: Registry[]) {
  return {
    requests: new Counter({
      name: 'runwatch_requests_total',
      help: 'Requests to Noxus, quick retries included, by the status of the answer.',
      labelNames: ['source', 'kind', 'status'],
      registers,
    }),
    discovered: new Counter({
      name: 'runwatch_runs_discovered_total',
      help: 'Runs that discovery found in a list and registered.',
      labelNames: ['source'],
      registers,
    }),
    polls: new Counter({
      name: 'runwatch_polls_total',
      help: 'Polls of single runs, by outcome.',
      labelNames: ['source', 'outcome'],
      registers,
    }),
    batchLooks: new Counter({
      name: 'runwatch_batch_looks_total',
      help: 'Pages of lists of runs that were read, by outcome; all but ok and rate_limited are followed by single polls.',
      labelNames: ['source', 'outcome'],
      registers,
    }),
    batchRuns: new Counter({
      name: 'runwatch_batch_runs_total',
      help: 'Watched runs that stood on a page, by what it said of them.',
      labelNames: ['source', 'result'],
      registers,
    }),
    pollLag: new Histogram({
      name: 'runwatch_poll_lag_seconds',
      help: 'Time from when a poll was due to when it started.',
      buckets: DELAY_BUCKETS,
      registers,
    }),
    events: new Counter({
      name: 'runwatch_events_total',
      help: 'Events of runs and watches, by type.',
      labelNames: ['type'],
      registers,
    }),
    detectionDelay: new Histogram({
      name: 'runwatch_detection_delay_seconds',
      help: 'Time from the finished_at of a run to when runwatch detected its end.',
      buckets: DELAY_BUCKETS,
      registers,
    }),
  };
}

function streamInstruments(registers: Registry[]) {
  return {
    known: new Counter({
      name: 'runwatch_transitions_total',
      help: 'Transitions of runs by kind, and by what they became known first: a hint of a stream or list, or a read.',
      labelNames: ['source', 'kind', 'by'],
      registers,
    }),
    wrongHints: new Counter({
      name: 'runwatch_stream_hints_wrong_total',
      help: 'Statuses that an event stream named and that three reads contradicted.',
      labelNames: ['source'],
      registers,
    }),
  };
}

function alertInstruments(registers: Registry[]) {
  return {
    matched: new Counter({
      name: 'runwatch_matched_events_total',
      help: 'Events that match alert rules; once for each rule.',
      registers,
    }),
    notified: new Counter({
      name: 'runwatch_notified_events_total',
      help: 'Matching events that a notification was sent for.',
      registers,
    }),
    overflowed: new Counter({
      name: 'runwatch_alert_group_overflow_total',
      help: 'Events that a rule counted together, as it has as many groups as it may have.',
      labelNames: ['rule'],
      registers,
    }),
    suppressed: new Counter({
      name: 'runwatch_suppressed_total',
      help: 'Matching events without a notification of their own, by reason.',
      labelNames: ['reason'],
      registers,
    }),
  };
}

function deliveryInstruments(registers: Registry[]) {
  return {
    attempts: new Counter({
      name: 'runwatch_delivery_attempts_total',
      help: 'Delivery attempts, by the state of the delivery after it and the result.',
      labelNames: ['state', 'result'],
      registers,
    }),
    endpointAttempts: new Counter({
      name: 'runwatch_endpoint_attempts_total',
      help: 'Delivery attempts to an endpoint, by result; all webhooks of watches count as per-watch.',
      labelNames: ['endpoint', 'result'],
      registers,
    }),
    attemptDuration: new Histogram({
      name: 'runwatch_delivery_attempt_duration_seconds',
      help: 'Duration of delivery attempts.',
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30],
      registers,
    }),
  };
}

function overdueInstruments(registers: Registry[]) {
  return {
    pollsOverdue: new Gauge({
      name: 'runwatch_polls_overdue',
      help: 'Polls of a source that are due and not started.',
      labelNames: ['source'],
      registers,
    }),
    oldestOverdue: new Gauge({
      name: 'runwatch_poll_oldest_overdue_seconds',
      help: 'For how long the oldest overdue poll of a source has been due.',
      labelNames: ['source'],
      registers,
    }),
  };
}
