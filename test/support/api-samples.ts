import { isoTime } from '../../src/core/event/event.ts';
import { RUN_FIELDS, RUN_FIELD_NAMES, type RunSnapshot } from '../../src/core/run/snapshot.ts';
import { NOTHING_GIVEN } from './builders.ts';
import type {
  DeliveryView,
  EndpointView,
  EventView,
  SourceView,
  TimelineView,
  WatchView,
} from '../../src/client/types.ts';

/** Sample answers of the API. */

export function sampleRun(changes: Partial<RunSnapshot> = {}): RunSnapshot {
  return {
    ...NOTHING_GIVEN,
    id: 'run-1',
    workflow_id: 'wf-1',
    group_id: 'group-1',
    status: 'running',
    progress: 40,
    created_at: '2025-05-04T09:50:00.000Z',
    started_at: '2025-05-04T09:51:00.000Z',
    source: 'api',
    observed_at: '2025-05-04T09:59:58.000Z',
    ...changes,
  };
}

/** A run of which Noxus gives every field, each with a value of its own. */
export function everyFieldOfRun(): RunSnapshot {
  const values = RUN_FIELD_NAMES.map((name, at): [string, string | number] => {
    const { kind } = RUN_FIELDS[name];
    if (kind === 'integer') return [name, at + 40];
    const isTime = kind === 'time' || kind === 'observed';
    return [name, isTime ? isoTime(Date.UTC(2025, 4, 4, 9, at)) : `its-${name}`];
  });
  return Object.fromEntries(values) as unknown as RunSnapshot;
}

export function sampleWatch(changes: Partial<WatchView> = {}): WatchView {
  return {
    run_id: 'run-1',
    source: 'default',
    registered_by: [],
    state: 'active',
    run: sampleRun(),
    workflow_name: null,
    run_url: null,
    changed_at: '2025-05-04T09:56:00.000Z',
    acknowledged: null,
    metadata: { team: 'billing' },
    subscriptions: [{ endpoint: 'ops' }],
    sequence: 2,
    polls: 7,
    registered_at: '2025-05-04T09:55:00.000Z',
    last_polled_at: '2025-05-04T09:59:58.000Z',
    next_poll_at: '2025-05-04T10:00:03.000Z',
    timeout_at: '2025-05-11T09:55:00.000Z',
    error: null,
    ...changes,
  };
}

/** A source with ten runs, without event streams. */
export function sampleSource(changes: Partial<SourceView> = {}): SourceView {
  return {
    name: 'default',
    label: 'Noxus',
    type: 'noxus',
    host: 'backend.noxus.ai',
    id_parts: [],
    can: { list: true, stream: true, wait: true, probe: true },
    state: 'answering',
    since: null,
    message: null,
    paused_until: null,
    last_answer_at: null,
    can_stop: true,
    rate_limit: { requests: 10, per: '1s', used: 4 },
    overdue: null,
    reads: sampleReads(),
    discovery: null,
    streams: {
      open: 0,
      wanted: 0,
      allowed: 10,
      refused_until: null,
      doubted: [],
      known_first: [],
    },
    ...changes,
  };
}

type Reads = NonNullable<SourceView['reads']>;

/** How often the ten runs are read. */
export function sampleReads(changes: Partial<Reads> = {}): Reads {
  return {
    runs: 10,
    usual_ms: 3_000,
    longest_ms: 9_000,
    beyond_max_interval: 0,
    rate_limit_that_would_do: { requests: 8, per: '1s' },
    message: '10 runs read every 3 s, the slowest every 9 s; source default may be asked 10/s',
    ...changes,
  };
}

/** A watch of a run with a terminal status. */
export function settledWatch(runId: string, status: string): WatchView {
  return sampleWatch({
    run_id: runId,
    state: 'finished',
    run: sampleRun({ id: runId, status, progress: 100 }),
    next_poll_at: null,
  });
}

export function sampleEvent(id: string, changes: Partial<EventView['data']> = {}): EventView {
  return {
    id,
    type: 'run.completed',
    timestamp: '2025-05-04T09:59:57.000Z',
    data: {
      run_id: 'run-1',
      run: sampleRun({ status: 'completed', progress: 100 }),
      previous: { status: 'running', progress: 40 },
      nodes: null,
      sequence: 1,
      detected_at: '2025-05-04T09:59:58.000Z',
      detection_delay_ms: 1_000,
      workflow_name: null,
      run_url: null,
      watch_url: null,
      watch: { source: 'default', metadata: {}, registered_at: '2025-05-04T09:55:00.000Z' },
      ...changes,
    },
  };
}

export function sampleDelivery(changes: Partial<DeliveryView> = {}): DeliveryView {
  return {
    id: 'dlv_1',
    event_id: 'evt_1',
    event_type: 'run.completed',
    run_id: 'run-1',
    alert_id: null,
    batch_id: null,
    workflow_name: null,
    alert_rule: null,
    batch: null,
    endpoint: 'ops',
    state: 'pending',
    attempt_count: 1,
    next_attempt_at: '2025-05-04T10:00:05.000Z',
    created_at: '2025-05-04T09:59:58.000Z',
    delivered_at: null,
    last: { status: 500, error: { code: 'http_500', message: 'answered 500' }, duration_ms: 12 },
    ...changes,
  };
}

/** What happened around a run, by its events and deliveries; what else these have is left to defaults. */
export function sampleTimeline(
  events: readonly EventView[],
  deliveries: readonly Partial<TimelineView['deliveries'][number]>[] = [],
  alerts: TimelineView['alerts'] = [],
): TimelineView {
  return {
    states: [],
    polls: [],
    events: events.map((one) => ({
      ...one,
      at: one.data.detected_at,
      waiting_ms: null,
      poll_ms: null,
    })),
    deliveries: deliveries.map((one) => ({
      ...sampleDelivery(),
      relay_ms: null,
      receiver_ms: null,
      attempts: [],
      ...one,
    })),
    alerts,
    truncated: false,
  };
}

export function sampleEndpoint(changes: Partial<EndpointView> = {}): EndpointView {
  return {
    name: 'ops',
    type: 'webhook',
    url: 'https://example.com/',
    events: ['run.failed'],
    default: true,
    counts: { pending: 1, delivered: 12, dead: 3, parked: 4, skipped: 5, superseded: 0 },
    oldest_pending_at: '2025-05-04T09:59:58.000Z',
    health: {
      state: 'active',
      reason: null,
      failing_since: null,
      next_probe_at: null,
      throttled_until: null,
    },
    ...changes,
  };
}
