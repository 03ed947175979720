import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runSentence, runSentenceText } from '../../src/client/run-sentence.ts';
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

interface Case {
  watch?: Partial<WatchView>;
  events?: EventView[];
  deliveries?: Partial<Delivery>[];
  endpoints?: Parameters<typeof sampleEndpoint>[0][];
}

const textOf = ({ watch, events = [], deliveries, endpoints = [] }: Case) =>
  runSentenceText({
    watch: sampleWatch(watch),
    timeline: sampleTimeline(events, deliveries),
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

const anyTimeline = fc.array(fc.constantFrom(...EVENT_TYPES), { maxLength: 8 }).chain((types) => {
  const events = types.map((type, at) => ({ ...eventOf(type), id: `evt ${at}` }));
  const delivery = fc.record({
    event_id: fc.constantFrom('of another run', ...events.map(({ id }) => id)),
    endpoint: fc.constantFrom(...ENDPOINTS),
    state: fc.constantFrom(...DELIVERY_STATES),
  });
  const deliveries = fc.array(delivery, { maxLength: 12 });
  return deliveries.map((all) =>
    sampleTimeline(
      events,
      all.map((one, at) => ({ ...one, id: `dlv ${at}` })),
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
      const stateOf = (id: string) => timeline.deliveries.find((one) => one.id === id)?.state;
      for (const { endpoint, deliveryId } of notified) {
        expect(stateOf(deliveryId)).toBe('delivered');
        expect(timeline.deliveries.find(({ id }) => id === deliveryId)?.endpoint).toBe(endpoint);
      }
      for (const { deliveryId } of missed) expect(stateOf(deliveryId)).not.toBe('delivered');
      const named = [...notified, ...missed].map(({ endpoint }) => endpoint);
      expect(new Set(named).size).toBe(named.length);
      if (named.length > 0) expect(unsent).toBeNull();
    }),
  );
});
