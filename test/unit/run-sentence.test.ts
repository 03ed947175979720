import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  runSentence,
  runSentenceText,
  type NotifiedEndpoint,
} from '../../src/client/run-sentence.ts';
import type { EventView, TimelineView, WatchView } from '../../src/client/types.ts';
import { DELIVERY_STATES } from '../../src/core/delivery/delivery.ts';
import { EVENT_TYPES } from '../../src/core/event/event.ts';
import { KNOWN_STATUSES } from '../../src/core/run/snapshot.ts';
import { WATCH_STATES } from '../../src/core/watch/watch.ts';
import {
  sampleEndpoint,
  sampleEvent,
  sampleRun,
  sampleTimeline,
  sampleWatch,
} from '../support/api-samples.ts';

const NOW = Date.parse('2025-05-04T10:00:00.000Z');

const NODES = {
  executed: 3,
  remaining: 2,
  running: ['n-2'],
  failed: [] as string[],
  names: { 'n-2': 'Write summary' },
};

type Alert = TimelineView['alerts'][number];
type Delivery = TimelineView['deliveries'][number];

const eventOf = (type: string, changes: Partial<EventView['data']> = {}): EventView => ({
  ...sampleEvent(`evt ${type}`, { nodes: NODES, ...changes }),
  type,
});

const sent = (type: string, endpoint: string, changes: Partial<Delivery> = {}) => ({
  id: `dlv ${endpoint}`,
  event_id: `evt ${type}`,
  endpoint,
  ...changes,
});

const taken: Partial<Delivery> = { state: 'delivered', next_attempt_at: null };

const ended = (status: string): Partial<WatchView> => ({
  state: 'finished',
  run: sampleRun({ status, progress: 60, finished_at: '2025-05-04T09:51:06.000Z' }),
});

const trouble = (code: string, message = 'It answered 500.') => ({
  code,
  message,
  since: '2025-05-04T09:55:00.000Z',
});

const sentByAlert = (
  endpoint: string,
  state: Delivery['state'] | null,
  at = '2025-05-04T09:59:59.000Z',
): Alert['notified'][number] => ({
  endpoint,
  at,
  event_id: 'evt of the alert',
  delivery_id: `dlv ${endpoint} by alert`,
  delivery_state: state,
  delivery_text: state === 'dead' ? 'given up: status 503' : 'waiting to be sent',
});

const alertOf = (type: string, changes: Partial<Alert> = {}): Alert => ({
  id: 'alr_1',
  rule: 'failed-runs',
  state: 'firing',
  acknowledged: null,
  suppressed_by: [],
  notified: [],
  event_ids: [`evt ${type}`],
  ...changes,
});

interface Case {
  watch?: Partial<WatchView>;
  events?: EventView[];
  deliveries?: Partial<Delivery>[];
  endpoints?: Parameters<typeof sampleEndpoint>[0][];
  alerts?: Alert[];
}

const textOf = ({ watch, events = [], deliveries, endpoints = [], alerts }: Case) =>
  runSentenceText({
    watch: sampleWatch(watch),
    timeline: sampleTimeline(events, deliveries, alerts),
    endpoints: endpoints.map((one) => sampleEndpoint(one)),
    now: NOW,
  });

const failing = {
  ...sampleEndpoint().health,
  state: 'failing' as const,
  next_probe_at: '2025-05-04T10:08:00.000Z',
};

const CASES: readonly (readonly [string, Case])[] = [
  [
    'Failed at Write summary after 6 s. Notified: chat, mail. Not notified: broken (waiting, next try in 8 min).',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed', { nodes: { ...NODES, running: [], failed: ['n-2'] } })],
      deliveries: [
        sent('run.failed', 'chat', taken),
        sent('run.failed', 'mail', taken),
        sent('run.failed', 'broken', { state: 'parked', next_attempt_at: null }),
      ],
      endpoints: [{ name: 'broken', health: failing }],
    },
  ],
  [
    'Failed at 60 % after 6 s. Sent to no endpoint of the watch.',
    { watch: ended('failed'), events: [eventOf('run.failed', { nodes: null })] },
  ],
  [
    'Completed after 6 s. Notified: ops.',
    {
      watch: ended('completed'),
      events: [eventOf('run.completed')],
      deliveries: [sent('run.completed', 'ops', taken)],
    },
  ],
  [
    'Stopped at Write summary after 6 s, attempt 2. Not notified: ops (given up after 3 attempts).',
    {
      watch: {
        ...ended('stopped'),
        run: { ...ended('stopped').run!, attempt: 2 },
      },
      events: [
        eventOf('run.stopped', { nodes: null }),
        eventOf('run.restarted'),
        { ...eventOf('run.stopped'), id: 'evt again' },
      ],
      deliveries: [
        sent('run.stopped', 'chat', taken),
        { ...sent('', 'ops'), event_id: 'evt again', state: 'dead', attempt_count: 3 },
      ],
    },
  ],
  [
    'Running at Write summary, 40 %, for 4 min. Notifies ops.',
    { events: [eventOf('run.progress')] },
  ],
  ['Running, 40 %, for 4 min. Notifies no endpoint.', { watch: { subscriptions: [] } }],
  [
    'Queued for 4 min. Notifies ops.',
    { watch: { run: sampleRun({ status: 'queued', progress: null }) } },
  ],
  ['Not polled yet. Notifies ops.', { watch: { run: null } }],
  [
    'Begun again, running, 40 %, attempt 2, for 4 min. Notified: ops.',
    {
      watch: { run: { ...sampleRun(), attempt: 2 } },
      events: [eventOf('run.failed'), eventOf('run.restarted', { nodes: null })],
      deliveries: [sent('run.failed', 'chat', taken), sent('run.restarted', 'ops', taken)],
    },
  ],
  [
    'Paused by admin for 4 min. Notifies ops. runwatch does not know this status.',
    { watch: { run: sampleRun({ status: 'paused_by_admin', progress: null }) } },
  ],
  [
    'Waiting for a human at Write summary, 40 %, for 4 min. Notified: ops. Acknowledged by ana 60 s ago, for another 60 min: on it.',
    {
      watch: {
        run: sampleRun({ status: 'awaiting_human_feedback' }),
        acknowledged: {
          by: 'ana',
          comment: 'on it.',
          at: '2025-05-04T09:59:00.000Z',
          until: '2025-05-04T11:00:00.000Z',
        },
      },
      events: [
        eventOf('run.awaiting_human_feedback'),
        { ...eventOf('run.awaiting_human_feedback', { reminder: 1 }), id: 'evt reminder' },
      ],
      // The reminder has not arrived: the endpoint knows all the same.
      deliveries: [
        sent('run.awaiting_human_feedback', 'ops', taken),
        { ...sent('', 'ops'), event_id: 'evt reminder' },
      ],
    },
  ],
  [
    'Waiting for a human, 40 %, for 4 min. Not notified: ops (waiting, next try now).',
    {
      watch: { run: sampleRun({ status: 'awaiting_human_feedback' }) },
      events: [
        eventOf('run.awaiting_human_feedback', { nodes: null }),
        eventOf('run.resumed', { nodes: null }),
        { ...eventOf('run.awaiting_human_feedback', { nodes: null }), id: 'evt second' },
      ],
      // What was sent of an earlier wait says nothing of this one.
      deliveries: [
        sent('run.awaiting_human_feedback', 'ops', taken),
        { ...sent('', 'ops'), event_id: 'evt second', next_attempt_at: '2025-05-04T09:59:59.000Z' },
      ],
    },
  ],
  [
    'Waiting (awaiting event), 40 %, for 4 min.',
    { watch: { run: sampleRun({ status: 'awaiting_event' }) } },
  ],
  [
    'Stalled while running at Write summary, 40 %, for 4 min. Not notified: ops (waiting, it is paused).',
    {
      events: [eventOf('run.started'), eventOf('run.stalled')],
      deliveries: [sent('run.stalled', 'ops')],
      endpoints: [{ health: { ...sampleEndpoint().health, state: 'paused' } }],
    },
  ],
  [
    'Running at Write summary, 40 %, for 4 min. Notified: ops.',
    {
      events: [eventOf('run.stalled'), eventOf('run.recovered')],
      deliveries: [sent('run.recovered', 'ops', taken)],
    },
  ],
  [
    'Gone 4 min ago, last seen running at Write summary, 40 %. Not notified: ops (left out, it was disabled or is not configured any more). No run has this id.',
    {
      watch: { state: 'gone', error: trouble('not_found', 'No run has this id.') },
      events: [eventOf('run.progress'), eventOf('run.gone', { nodes: null })],
      deliveries: [sent('run.gone', 'ops', { state: 'skipped' })],
    },
  ],
  [
    'Gone 4 min ago, never seen. No run has this id.',
    { watch: { state: 'gone', run: null, error: trouble('not_found', 'No run has this id') } },
  ],
  [
    'Watch expired 4 min ago, last seen running, 40 %. Not notified: ops (left out, the run had moved on). What became of the run since is not known.',
    {
      watch: { state: 'expired' },
      events: [eventOf('watch.expired', { nodes: null })],
      deliveries: [sent('watch.expired', 'ops', { state: 'superseded' })],
    },
  ],
  [
    'Unwatched 4 min ago, last seen running, 40 %. What became of the run since is not known.',
    { watch: { state: 'cancelled' } },
  ],
  [
    'Refused by its source for 5 min, last seen running, 40 %. It answered 401.',
    { watch: { error: trouble('unauthorized', 'It answered 401.') } },
  ],
  [
    'Not found by its source for 5 min, never seen. No such run.',
    { watch: { run: null, error: trouble('not_found', 'No such run.') } },
  ],
  [
    'Running, 40 %, for 4 min. Notifies ops. No answer about it for 5 min: It answered 500.',
    { watch: { error: trouble('unavailable') } },
  ],
  [
    'No answer about it for 5 min, last seen running, 40 %. Notified: ops. It answered 500.',
    {
      watch: { error: trouble('unavailable') },
      events: [eventOf('watch.unreachable', { nodes: null })],
      deliveries: [sent('watch.unreachable', 'ops', taken)],
    },
  ],
  [
    'Failed at Write summary after 6 s. Notified: ops; chat by alert failed-runs. Not notified: mail by alert failed-runs (given up: status 503).',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed')],
      deliveries: [sent('run.failed', 'ops', taken)],
      alerts: [
        alertOf('run.failed', {
          notified: [
            sentByAlert('chat', 'delivered'),
            sentByAlert('ops', 'delivered'),
            sentByAlert('mail', 'dead'),
            sentByAlert('pager', null),
          ],
        }),
      ],
    },
  ],
  // An endpoint that one of them has reached knows.
  [
    'Failed at Write summary after 6 s. Notified: chat by alert failed-runs.',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed')],
      deliveries: [sent('run.failed', 'chat', { state: 'dead' })],
      alerts: [alertOf('run.failed', { notified: [sentByAlert('chat', 'delivered')] })],
    },
  ],
  [
    'Failed at Write summary after 6 s. Not notified: chat by alert failed-runs (waiting to be sent).',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed')],
      alerts: [alertOf('run.failed', { notified: [sentByAlert('chat', 'pending')] })],
    },
  ],
  // What an alert sent before the run failed says nothing of that.
  [
    'Failed at Write summary after 6 s. Sent to no endpoint of the watch. Alert failed-runs has notified no endpoint of it yet.',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed')],
      alerts: [
        alertOf('run.failed', {
          notified: [sentByAlert('chat', 'delivered', '2025-05-04T09:00:00.000Z')],
        }),
      ],
    },
  ],
  [
    'Failed at Write summary after 6 s. Sent to no endpoint of the watch. Alert failed-runs has notified no endpoint of it while silenced by ana, for another 13 min.',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed')],
      alerts: [
        alertOf('run.failed', {
          suppressed_by: [
            { kind: 'silence', id: 'sil_1', by: 'ana', until: '2025-05-04T10:13:00.000Z' },
          ],
        }),
      ],
    },
  ],
  [
    'Failed at Write summary after 6 s. Notified: ops. Alert failed-runs has notified no endpoint of it while muted by nights and acknowledged by ana.',
    {
      watch: ended('failed'),
      events: [eventOf('run.failed')],
      deliveries: [sent('run.failed', 'ops', taken)],
      alerts: [
        alertOf('run.failed', {
          state: 'acknowledged',
          acknowledged: {
            by: 'ana',
            comment: null,
            at: '2025-05-04T09:59:00.000Z',
            until: null,
          },
          suppressed_by: [{ kind: 'mute', id: 'nights', by: null, until: null }],
        }),
      ],
    },
  ],
  // An alert of how the run stood earlier.
  [
    'Running at Write summary, 40 %, for 4 min. Notifies ops.',
    {
      events: [eventOf('run.stalled'), eventOf('run.recovered')],
      alerts: [alertOf('run.stalled', { notified: [sentByAlert('chat', 'delivered')] })],
    },
  ],
];

test.each(CASES)('sentence about a run: %s', (text, given) => {
  expect(textOf(given)).toBe(text);
});

test('sentence about a run names eight endpoints, and says how many more there are', () => {
  const names = Array.from({ length: 30 }, (_, at) => `endpoint-${at}`);
  const text = textOf({
    watch: ended('failed'),
    events: [eventOf('run.failed')],
    deliveries: names.map((name) => sent('run.failed', name, taken)),
  });
  expect(text).toContain('endpoint-6, endpoint-7 and 22 more.');
});

test('sentence about a run with deliveries left out does not say that none was sent', () => {
  const timeline = { ...sampleTimeline([eventOf('run.failed')]), truncated: true };
  const facts = { watch: sampleWatch(ended('failed')), endpoints: [], now: NOW };
  expect(runSentence({ ...facts, timeline }).unsent).toBeNull();
  expect(runSentence({ ...facts, timeline: null }).unsent).toBeNull();
});

const ENDPOINTS = ['chat', 'mail', 'ops'];
const EARLIER = '2025-05-04T08:00:00.000Z';
const LATER = '2025-05-04T09:59:59.000Z';

const anyTimeline = fc.array(fc.constantFrom(...EVENT_TYPES), { maxLength: 8 }).chain((types) => {
  const events = types.map((type, at) => ({ ...eventOf(type), id: `evt ${at}` }));
  const delivery = fc.record({
    event_id: fc.constantFrom('of another run', ...events.map(({ id }) => id)),
    endpoint: fc.constantFrom(...ENDPOINTS),
    state: fc.constantFrom(...DELIVERY_STATES),
  });
  const notified = fc
    .record({
      endpoint: fc.constantFrom(...ENDPOINTS),
      state: fc.constantFrom(...DELIVERY_STATES, null),
      at: fc.constantFrom(EARLIER, events[0]?.data.detected_at ?? EARLIER, LATER),
    })
    .map(({ endpoint, state, at }) => sentByAlert(endpoint, state, at));
  const alert = fc.record({
    notified: fc.uniqueArray(notified, { selector: ({ endpoint }) => endpoint }),
    event_ids: fc.subarray(events.map(({ id }) => id)),
  });
  const deliveries = fc.array(delivery, { maxLength: 12 });
  return fc.tuple(deliveries, fc.array(alert, { maxLength: 3 })).map(([all, alerts]) =>
    sampleTimeline(
      events,
      all.map((one, at) => ({ ...one, id: `dlv ${at}` })),
      alerts.map((one, at) => alertOf('', { ...one, id: `alr ${at}` })),
    ),
  );
});

const anyWatch = fc
  .record({
    state: fc.constantFrom(...WATCH_STATES),
    status: fc.constantFrom(...KNOWN_STATUSES, 'awaiting_event', 'odd', null),
    code: fc.constantFrom('unauthorized', 'unavailable', 'not_found', null),
  })
  .map(({ state, status, code }) =>
    sampleWatch({
      state,
      run: status === null ? null : sampleRun({ status }),
      error: code === null ? null : trouble(code),
    }),
  );

test('sentence about a run never says that an endpoint is notified of which no delivery arrived', () => {
  fc.assert(
    fc.property(anyWatch, anyTimeline, (watch, timeline) => {
      const { notified, missed, unsent } = runSentence({
        watch,
        timeline,
        endpoints: [],
        now: NOW,
      });
      const wayOf = ({ endpoint, deliveryId, alert: by }: NotifiedEndpoint) => {
        if (by === null) return timeline.deliveries.find(({ id }) => id === deliveryId);
        const alert = timeline.alerts.find(({ id }) => id === by.id);
        const one = alert?.notified.find((sending) => sending.endpoint === endpoint);
        const counted = timeline.events.filter(({ id }) => alert?.event_ids.includes(id));
        expect(counted.some(({ data }) => data.detected_at <= (one?.at ?? ''))).toBe(true);
        return one && { endpoint: one.endpoint, state: one.delivery_state };
      };
      for (const one of notified) {
        expect(wayOf(one)).toMatchObject({ state: 'delivered', endpoint: one.endpoint });
      }
      for (const one of missed) expect(wayOf(one)?.state).not.toBe('delivered');
      const named = [...notified, ...missed].map(({ endpoint }) => endpoint);
      expect(new Set(named).size).toBe(named.length);
      if (named.length > 0) expect(unsent).toBeNull();
    }),
  );
});
