import { describe, expect, test } from '@jest/globals';
import { BODY_KINDS } from '../../src/deliver/channels/bodies.ts';

const FAILED = {
  id: 'evt_1',
  type: 'run.failed',
  timestamp: '2026-01-01T12:02:05.500Z',
  data: {
    run_id: 'run-1',
    run: {
      id: 'run-1',
      workflow_id: 'workflow-1',
      group_id: 'group-1',
      workflow_version_id: null,
      status: 'failed',
      progress: 40,
      created_at: '2026-01-01T11:59:59.000Z',
      started_at: '2026-01-01T12:00:00.000Z',
      finished_at: '2026-01-01T12:02:05.500Z',
      source: null,
      user_id: null,
      conversation_id: null,
      observed_at: '2026-01-01T12:02:06.000Z',
    },
    previous: { status: 'running', progress: 40 },
    sequence: 3,
    detected_at: '2026-01-01T12:02:06.000Z',
    detection_delay_ms: 500,
    watch: {
      source: 'default',
      metadata: { team: 'R&D', note: '<!channel> 🚀' },
      registered_at: '2026-01-01T11:59:59.500Z',
    },
  },
};

/** A system event: its data have a shape of their own. */
const ALERT = {
  id: 'evt_2',
  type: 'endpoint.failing',
  timestamp: '2026-01-01T12:00:00.000Z',
  data: { endpoint: 'ops', failing_for: 5, last: { status: 500 } },
};

const text = JSON.stringify(FAILED);
const render = (kind: keyof typeof BODY_KINDS, event: object): unknown =>
  JSON.parse(BODY_KINDS[kind].render(JSON.stringify(event)));

describe('every kind of body', () => {
  test.each([
    ['standard', 'application/json'],
    ['cloudevents', 'application/cloudevents+json'],
  ] as const)(
    'body kind %s is %s, with the same bytes each time for the same event',
    (kind, contentType) => {
      expect(BODY_KINDS[kind].contentType).toBe(contentType);
      expect(BODY_KINDS[kind].render(text)).toBe(BODY_KINDS[kind].render(text));
    },
  );

  test('a standard body is the text of the event, byte for byte', () => {
    const odd = '{"id" : "evt_1",\n "x":"\\u00e9\\/é"}';
    expect(BODY_KINDS.standard.render(odd)).toBe(odd);
  });
});

describe('a CloudEvent', () => {
  test("a CloudEvent carries the event's data under the attributes of version 1.0", () => {
    expect(render('cloudevents', FAILED)).toEqual({
      specversion: '1.0',
      id: 'evt_1',
      source: '/runwatch/default',
      type: 'runwatch.run.failed',
      subject: 'run-1',
      time: '2026-01-01T12:02:05.500Z',
      datacontenttype: 'application/json',
      data: FAILED.data,
    });
  });

  test('a CloudEvent of a system event has no subject', () => {
    expect(render('cloudevents', ALERT)).toEqual({
      specversion: '1.0',
      id: 'evt_2',
      source: '/runwatch',
      type: 'runwatch.endpoint.failing',
      time: ALERT.timestamp,
      datacontenttype: 'application/json',
      data: ALERT.data,
    });
    expect(render('cloudevents', { ...ALERT, type: 'runwatch.test' })).toMatchObject({
      type: 'runwatch.test',
    });
  });
});
