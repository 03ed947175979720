import { collectDefaultMetrics, Registry } from 'prom-client';
import { SUPPRESSIONS, type AlertCounts } from '../core/alert/alert.ts';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { countedReceiver } from '../core/delivery/receiver.ts';
import type { RequestReport } from '../core/source/request.ts';
import { isTerminalEvent } from '../core/event/event.ts';
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
import type { PageReport } from '../core/feed/list-hint.ts';
import type { PollReport } from '../core/watch/poll-report.ts';
import type { LossReason } from '../core/store-loss.ts';
import { createMaker, type Maker } from './instruments.ts';

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
  const make = createMaker(registry);
  make
    .gauge('runwatch_build_info', 'The version of this process; always 1.', ['version'])
    .set({ version }, 1);
  const recordings = {
    ...requestRecordings(make),
    ...pollRecordings(make),
    ...listRecordings(make),
    ...streamRecordings(make),
    ...alertRecordings(make),
    ...deliveryRecordings(make),
    ...processRecordings(make),
  };
  const stored = scraped(createStoredGauges(make), countStored);
  const sources = scraped<SourceFigures[]>(createSourceGauges(make), async () => []);
  const endpoints = scraped<EndpointFigures[]>(createEndpointGauges(make), async () => []);
  const checks = scraped<CheckFigures[]>(createCheckGauge(make), async () => []);
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
    ...recordings,
  };
}

const DELAY_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

function requestRecordings(make: Maker) {
  const requests = make.counter(
    'runwatch_requests_total',
    'Requests to the source, quick retries included, by the status of the answer.',
    ['source', 'kind', 'status'],
  );
  return {
    request(source: string, { kind, status }: RequestReport): void {
      requests.inc({ source, kind, status: status ?? 'none' });
    },
  };
}

function pollRecordings(make: Maker) {
  const polls = make.counter('runwatch_polls_total', 'Polls of single runs, by outcome.', [
    'source',
    'outcome',
  ]);
  const contradictions = make.counter(
    'runwatch_poll_contradictions_total',
    'Polls that contradicted the poll of the same run before, as where a replica or cache of a source lags.',
    ['source'],
  );
  const lag = make.histogram(
    'runwatch_poll_lag_seconds',
    'Time from when a poll was due to when it started.',
    DELAY_BUCKETS,
  );
  const eventCount = make.counter('runwatch_events_total', 'Events of runs and watches, by type.', [
    'type',
  ]);
  const detectionDelay = make.histogram(
    'runwatch_detection_delay_seconds',
    'Time from the finished_at of a run to when runwatch detected its end.',
    DELAY_BUCKETS,
  );
  const pollsOverdue = make.gauge(
    'runwatch_polls_overdue',
    'Polls of a source that are due and not started.',
    ['source'],
  );
  const oldestOverdue = make.gauge(
    'runwatch_poll_oldest_overdue_seconds',
    'For how long the oldest overdue poll of a source has been due.',
    ['source'],
  );
  return {
    poll({ watch, outcome, events, lagMs }: PollReport): void {
      polls.inc({ source: watch.source, outcome });
      lag.observe(Math.max(0, lagMs) / 1_000);
      for (const { type, data } of events) {
        eventCount.inc({ type });
        // Other events of the same poll carry the same delay.
        if (isTerminalEvent(type) && data.detection_delay_ms !== null) {
          detectionDelay.observe(data.detection_delay_ms / 1_000);
        }
      }
    },
    contradicted(source: string): void {
      contradictions.inc({ source });
    },
    overdue(source: string, { due, oldestMs }: { due: number; oldestMs: number | null }): void {
      pollsOverdue.set({ source }, due);
      oldestOverdue.set({ source }, Math.max(0, oldestMs ?? 0) / 1_000);
    },
  };
}

function listRecordings(make: Maker) {
  const pages = make.counter(
    'runwatch_list_pages_total',
    'Pages of lists of runs that were read, by outcome; all but ok and rate_limited are followed by single polls.',
    ['source', 'outcome'],
  );
  const runs = make.counter(
    'runwatch_list_runs_total',
    'Watched runs that stood on a page, by what it said of them.',
    ['source', 'result'],
  );
  const discoveredRuns = make.counter(
    'runwatch_runs_discovered_total',
    'Runs that discovery found in a list and registered.',
    ['source'],
  );
  return {
    list({ list: { source }, outcome, changed, unchanged, vanished }: PageReport): void {
      pages.inc({ source, outcome });
      runs.inc({ source, result: 'changed' }, changed);
      runs.inc({ source, result: 'unchanged' }, unchanged);
      runs.inc({ source, result: 'vanished' }, vanished);
    },
    discovered(source: string, count: number): void {
      discoveredRuns.inc({ source }, count);
    },
  };
}

function streamRecordings(make: Maker) {
  const transitions = make.counter(
    'runwatch_transitions_total',
    'Transitions of runs by kind, and by what they became known first: a hint of a stream or list, or a read.',
    ['source', 'kind', 'by'],
  );
  const wrongHints = make.counter(
    'runwatch_stream_hints_wrong_total',
    'Statuses that an event stream named and that three reads contradicted.',
    ['source'],
  );
  return {
    /** A transition became known first by a hint of a stream or list, or by a read. */
    known(labels: { source: string; kind: string; by: string }): void {
      transitions.inc(labels);
    },
    /** Three reads have contradicted what an event stream said. */
    wrongHint(source: string): void {
      wrongHints.inc({ source });
    },
  };
}

function alertRecordings(make: Maker) {
  const matched = make.counter(
    'runwatch_matched_events_total',
    'Events that match alert rules; once for each rule.',
  );
  const notified = make.counter(
    'runwatch_notified_events_total',
    'Matching events that a notification was sent for.',
  );
  const overflowed = make.counter(
    'runwatch_alert_group_overflow_total',
    'Events that a rule counted together, as it has as many groups as it may have.',
    ['rule'],
  );
  const suppressed = make.counter(
    'runwatch_suppressed_total',
    'Matching events without a notification of their own, by reason.',
    ['reason'],
  );
  return {
    /** What became of events that match alert rules. */
    alertCounts(counts: Readonly<AlertCounts>): void {
      for (const reason of SUPPRESSIONS) suppressed.inc({ reason }, counts[reason]);
      matched.inc(counts.observed);
      notified.inc(counts.notified);
    },
    /** Events of groups that a rule may not have any more. */
    alertOverflow(rule: string, events: number): void {
      overflowed.inc({ rule }, events);
    },
  };
}

function deliveryRecordings(make: Maker) {
  const attempts = make.counter(
    'runwatch_delivery_attempts_total',
    'Delivery attempts, by the state of the delivery after it and the result.',
    ['state', 'result'],
  );
  const endpointAttempts = make.counter(
    'runwatch_endpoint_attempts_total',
    'Delivery attempts to an endpoint, by result; all webhooks of watches count as per-watch.',
    ['endpoint', 'result'],
  );
  const duration = make.histogram(
    'runwatch_delivery_attempt_duration_seconds',
    'Duration of delivery attempts.',
    [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30],
  );
  return {
    /** @param report.others null for a delivery that the message of another covered */
    attempt(report: { delivery: Delivery; attempt: Attempt; others: number | null }): void {
      const { delivery, attempt, others } = report;
      const result = attempt.error === null ? 'delivered' : attempt.error.code;
      attempts.inc({ state: delivery.state, result });
      if (others === null) return;
      endpointAttempts.inc({ endpoint: countedReceiver(delivery.endpoint), result });
      duration.observe(attempt.durationMs / 1_000);
    },
  };
}

/** What a process counts of itself: its API, its configuration, its store and clock, its traces. */
function processRecordings(make: Maker) {
  const httpRequests = make.counter(
    'runwatch_http_requests_total',
    'Requests to the API, by route and the status of the answer.',
    ['route', 'status'],
  );
  const spanCount = make.counter(
    'runwatch_trace_spans_total',
    'Spans of traces, by the result of their export: exported or failed.',
    ['result'],
  );
  const droppedLines = make.counter(
    'runwatch_log_lines_dropped_total',
    'Lines of the log that were dropped, since it could not be written and too many waited.',
  );
  return {
    ...storeRecordings(make),
    ...configRecordings(make),
    /** @param route the pattern of its path; null where no route has it */
    httpRequest(route: string | null, status: number): void {
      httpRequests.inc({ route: route ?? 'none', status });
    },
    logLineDropped(): void {
      droppedLines.inc();
    },
    spans(result: 'exported' | 'failed', count: number): void {
      spanCount.inc({ result }, count);
    },
  };
}

function storeRecordings(make: Maker) {
  const losses = make.counter(
    'runwatch_store_data_lost_total',
    'Losses of data in Redis that this process detected, by reason.',
    ['reason'],
  );
  // An increase from nothing to one is none: each series is there before its first event.
  for (const reason of ['emptied', 'replaced', 'rolled_back', 'damaged'] satisfies LossReason[]) {
    losses.inc({ reason }, 0);
  }
  const skew = make.gauge(
    'runwatch_clock_skew_seconds',
    'How far the clock of this host is ahead of the clock of Redis, which all processes use.',
  );
  return {
    /** @param reason how the store lost what it had */
    dataLost(reason: string): void {
      losses.inc({ reason });
    },
    /** @param skewMs how far the clock of this host is ahead */
    clockSkew(skewMs: number): void {
      skew.set(skewMs / 1_000);
    },
  };
}

/** The first two begin with the configuration of the start, which was right. */
function configRecordings(make: Maker) {
  const reloadSuccessful = make.gauge(
    'runwatch_config_last_reload_successful',
    'Whether the configuration was right when it was last read: 0 while an older one stays in force.',
  );
  const reloadedAt = make.gauge(
    'runwatch_config_last_reload_success_timestamp_seconds',
    'When the configuration in force was read.',
  );
  const heartbeats = make.counter(
    'runwatch_heartbeats_total',
    'Calls of heartbeat.url that were due, by result; not_ready is none.',
    ['result'],
  );
  for (const result of ['sent', 'failed', 'not_ready']) heartbeats.inc({ result }, 0);
  reloadSuccessful.set(1);
  reloadedAt.setToCurrentTime();
  return {
    heartbeat(result: string): void {
      heartbeats.inc({ result });
    },
    /** The configuration was read again. */
    reloaded(isInForce: boolean): void {
      reloadSuccessful.set(isInForce ? 1 : 0);
      if (isInForce) reloadedAt.setToCurrentTime();
    },
  };
}
