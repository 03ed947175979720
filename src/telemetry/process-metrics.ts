import type { LossReason } from '../core/store-loss.ts';
import type { Maker } from './instruments.ts';

/** What a process counts of itself: its API, its configuration, its store and clock, its traces. */
export function processRecordings(make: Maker) {
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
