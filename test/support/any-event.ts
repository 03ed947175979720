import fc from 'fast-check';
import { CLOSE_REASONS, FAILED_MEMBERS, MEMBER_STATUSES } from '../../src/core/batch.ts';
import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
} from '../../src/core/event/event.ts';
import { KNOWN_STATUSES } from '../../src/core/run/snapshot.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { anyId } from './any-id.ts';
import { anyText } from './any-text.ts';

const AT = '2026-01-01T12:00:06.000Z';

const MARKS = ['&', '<', '>', '*', '_', '`', '|', '[', ')', '\\', '"', '\n', 'é', '漢', '🚀'];

/** The marks of all services, and characters of more than one unit or byte, up to 3,500 of them. */
const marks = fc
  .tuple(
    fc.array(fc.constantFrom(...MARKS), { minLength: 1, maxLength: 7 }),
    fc.constantFrom(1, 10, 100, 500),
  )
  .map(([some, times]) => some.join('').repeat(times));

/** What a user of Noxus, or a configuration, may have written. */
const words = fc.oneof(
  fc.constantFrom('', ' ', '\n\t', '\u{85}'),
  anyText({ maxLength: 40 }),
  marks,
);

/** `null`, or an address that may be too long to link to, or be none. */
const address = fc.oneof(
  fc.constantFrom(
    null,
    '',
    'javascript:alert(1)',
    'https://[',
    'https://a.example/a_(b)?q=<c>|"d"',
  ),
  fc
    .tuple(fc.constantFrom('&', '(', '|', 'x', '%20'), fc.constantFrom(1, 100, 600, 1_980))
    .map(([part, times]) => `https://a.example/${part.repeat(times)}`),
);

const id = anyId;
const name = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,62}$/);
const status = fc.oneof(fc.constantFrom(...KNOWN_STATUSES), words);
const count = fc.nat({ max: 100_000 });
const eventId = fc.uuid().map((text) => `evt_${text}`);
const time = fc.constantFrom(AT, '2026-01-03T00:00:00.000Z');

function orNull<Value>(value: fc.Arbitrary<Value>) {
  return fc.option(value, { freq: 3 });
}

const nodes = fc.record({
  executed: count,
  remaining: count,
  running: fc.array(words, { maxLength: 20 }),
  failed: fc.array(words, { maxLength: 20 }),
  names: orNull(fc.dictionary(words, words, { maxKeys: 5 })),
});

const run = fc.record({
  workflow_id: orNull(id),
  status,
  progress: orNull(fc.integer()),
  started_at: orNull(time),
  finished_at: orNull(time),
  observed_at: time,
});

const runData = fc.record(
  {
    run_id: id,
    run: orNull(run),
    nodes: orNull(nodes),
    workflow_name: orNull(words),
    run_url: address,
    watch_url: address,
    detected_at: time,
    watch: fc.record({
      source: name,
      metadata: fc.dictionary(words, words, { maxKeys: 32 }),
    }),
    error: orNull(fc.record({ code: name, message: words })),
    reminder: count,
    waited_ms: count,
    lasted_ms: count,
  },
  { requiredKeys: ['run_id', 'run', 'workflow_name', 'run_url', 'watch_url', 'watch'] },
);

const label = fc.oneof(
  fc.constantFrom('source', 'workflow_id', 'run_id', 'event', 'overflow'),
  words.map((key) => `metadata.${key}`),
);

const alert = fc.record(
  {
    id: fc.uuid().map((text) => `alr_${text}`),
    rule: name,
    labels: fc.dictionary(label, words, { maxKeys: 12 }),
    state: fc.constantFrom('firing', 'acknowledged', 'resolved'),
    severity: fc.constantFrom('critical', 'error', 'warning', 'info'),
    owner: orNull(words),
    count,
    runs: fc.array(
      fc.record({
        run_id: id,
        workflow_id: orNull(id),
        name: orNull(words),
        url: address,
        status: orNull(status),
        at: time,
      }),
      { maxLength: 50 },
    ),
    started_at: time,
    updated_at: time,
    resolved_at: orNull(time),
    acknowledged: orNull(fc.record({ by: words, comment: orNull(words) })),
    annotations: fc.record(
      { summary: words, description: words, runbook_url: address.map((url) => url ?? '') },
      { requiredKeys: [] },
    ),
    url: address,
  },
  { requiredKeys: ['id', 'rule', 'labels', 'state', 'severity', 'count', 'runs', 'started_at'] },
);

const digest = fc.record({
  since: time,
  until: time,
  reason: fc.constantFrom('muted', 'schedule'),
  alerts: fc.array(
    fc.record({
      labels: fc.dictionary(label, words, { maxKeys: 4 }),
      state: fc.constantFrom('firing', 'resolved'),
      count,
      name: orNull(words),
    }),
    { maxLength: 50 },
  ),
  by_type: fc.dictionary(fc.constantFrom(...EVENT_TYPES), count),
});

const alertData = fc.record({
  alert,
  repeat: fc.boolean(),
  digest: orNull(digest),
  escalation: orNull(fc.record({ step: count, after: fc.constantFrom('30m', '4h') })),
});

const batchData = fc.record(
  {
    batch: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
    batch_id: name.map((mark) => `bat_${mark}`),
    reason: fc.constantFrom(...CLOSE_REASONS),
    total: count,
    max_failed: orNull(count),
    by_status: fc.dictionary(fc.constantFrom(...MEMBER_STATUSES), count),
    failed_runs: fc.array(
      fc.record({
        run_id: id,
        source: name,
        workflow_id: orNull(id),
        workflow_name: orNull(words),
        status: fc.constantFrom(...FAILED_MEMBERS),
        run_url: address,
        watch_url: address,
      }),
      { maxLength: 10 },
    ),
    batch_url: address,
    duration_ms: count,
  },
  {
    requiredKeys: [
      'batch',
      'batch_id',
      'total',
      'max_failed',
      'by_status',
      'failed_runs',
      'batch_url',
      'duration_ms',
    ],
  },
);

const systemData = fc.record(
  {
    endpoint: name,
    source: name,
    error: fc.record({ code: name, message: words }),
    message: words,
    help: words,
    polls: count,
    oldest_ms: count,
    failures: count,
    status: words,
  },
  { requiredKeys: [] },
);

function eventOf(types: readonly string[], data: fc.Arbitrary<SentEvent['data']>) {
  return fc.record({ id: eventId, type: fc.constantFrom(...types), timestamp: time, data });
}

const UNKNOWN_TYPE = 'run.of_a_later_version';

/** Any event that an endpoint may get, with texts, addresses and labels of every kind. */
const anyEvent: fc.Arbitrary<SentEvent> = fc.oneof(
  eventOf([...EVENT_TYPES, UNKNOWN_TYPE], runData),
  eventOf(ALERT_EVENT_TYPES, alertData),
  eventOf(BATCH_EVENT_TYPES, batchData),
  eventOf([...SYSTEM_EVENT_TYPES, 'system.of_a_later_version'], systemData),
  eventOf(
    [TEST_EVENT_TYPE],
    fc.record({ endpoint: name, test: fc.constant(true), alert }, { requiredKeys: ['endpoint'] }),
  ),
);

/** Any events of one type that one message may cover. */
export const anyEvents: fc.Arbitrary<[SentEvent, ...SentEvent[]]> = fc.oneof(
  anyEvent.map((event): [SentEvent] => [event]),
  fc
    .tuple(
      fc.constantFrom(...EVENT_TYPES, UNKNOWN_TYPE),
      fc.array(eventOf([UNKNOWN_TYPE], runData), { minLength: 2, maxLength: 12 }),
    )
    .map(([type, events]) => events.map((event) => ({ ...event, type })) as [SentEvent]),
);
