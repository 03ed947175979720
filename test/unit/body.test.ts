import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BODY_KINDS } from '../../src/deliver/channels/bodies.ts';
import { clip, escapeText, inlineText, spanText } from '../../src/deliver/channels/slack.ts';

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

const GONE = {
  ...FAILED,
  type: 'run.gone',
  data: {
    ...FAILED.data,
    run: null,
    watch: { ...FAILED.data.watch, metadata: {} },
    error: { code: 'not_found', message: 'Noxus says <nothing>', since: '…' },
  },
};

const text = JSON.stringify(FAILED);
const render = (kind: keyof typeof BODY_KINDS, event: object): unknown =>
  JSON.parse(BODY_KINDS[kind].render(JSON.stringify(event)));

describe('every kind of body', () => {
  test.each([
    ['standard', 'application/json'],
    ['cloudevents', 'application/cloudevents+json'],
    ['slack', 'application/json'],
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

const markdown = (shown: string) => ({ type: 'mrkdwn', text: shown, verbatim: true });
const section = (shown: string) => ({ type: 'section', text: markdown(shown) });

describe('a Slack message', () => {
  test('a Slack message names status, workflow, progress, duration and metadata', () => {
    expect(render('slack', FAILED)).toEqual({
      text: 'Run failed: run-1 of workflow workflow-1',
      blocks: [
        section(':red_circle: *Run failed*\n`run-1`'),
        {
          type: 'section',
          fields: [
            markdown('*Status*\nfailed'),
            markdown('*Workflow*\n`workflow-1`'),
            markdown('*Progress*\n40 %'),
            markdown('*Duration*\n2m 5s'),
            markdown('*Source*\ndefault'),
          ],
        },
        section('*Metadata*\nteam: R&amp;D\nnote: &lt;!channel&gt; 🚀'),
        {
          type: 'context',
          elements: [markdown('2026-01-01T12:02:05.500Z · evt_1')],
        },
      ],
    });
  });

  test('a Slack message of a run without a snapshot gives the reason', () => {
    expect(render('slack', GONE)).toEqual({
      text: 'Run is gone: run-1',
      blocks: [
        section(':warning: *Run is gone*\n`run-1`'),
        { type: 'section', fields: [markdown('*Source*\ndefault')] },
        section('*Why*\nNoxus says &lt;nothing&gt;'),
        { type: 'context', elements: [markdown('2026-01-01T12:02:05.500Z · evt_1')] },
      ],
    });
  });

  test('a Slack message of a system event names the event and its details', () => {
    expect(render('slack', ALERT)).toEqual({
      text: 'endpoint.failing',
      blocks: [
        section('*endpoint.failing*'),
        section('*Details*\nendpoint: ops\nfailing_for: 5'),
        { type: 'context', elements: [markdown('2026-01-01T12:00:00.000Z · evt_2')] },
      ],
    });
  });

  test('a Slack message of endpoint.recovered has no error line', () => {
    const recovered = { ...ALERT, data: { ...ALERT.data, error: null } };
    expect(render('slack', recovered)).toEqual(render('slack', ALERT));
  });

  test('a Slack message says that a run still waits, and how long one has been in its state', () => {
    const shown = (type: string, details: object) =>
      JSON.stringify(render('slack', { ...FAILED, type, data: { ...FAILED.data, ...details } }));
    const reminder = shown('run.awaiting_human_feedback', { reminder: 1, waited_ms: 3_600_000 });
    expect(reminder).toContain('"text":"Run still waits for a human: run-1');
    expect(reminder).toContain(':raised_hand: *Run still waits for a human*');
    expect(reminder).toContain('*Waited*\\n1h');
    const stalled = shown('run.stalled', { lasted_ms: 5_400_000, usual_ms: null });
    expect(stalled).toContain(':hourglass: *Run is stalled*');
    expect(stalled).toContain('*In one state*\\n1h 30m');
  });

  test("a Slack message shows a running run's duration up to its last poll, and none before its start", () => {
    const running = { ...FAILED.data.run, status: 'running', finished_at: null };
    const shown = (run: object) =>
      JSON.stringify(render('slack', { ...FAILED, data: { ...FAILED.data, run } }));
    expect(shown(running)).toContain('*Duration*\\n2m 6s');
    expect(shown({ ...running, started_at: null })).not.toContain('Duration');
  });

  test('a Slack message keeps to the limits of blocks, mentions no user, and is valid for any event', () => {
    const wild = fc.string({
      unit: fc.constantFrom('&', '<', '>', '🚀', 'a', '`', '\n'),
      size: 'max',
      maxLength: 4_000,
    });
    fc.assert(
      fc.property(wild, wild, wild, (status, key, value) => {
        const data = {
          ...FAILED.data,
          run: { ...FAILED.data.run, status, workflow_id: value },
          watch: { source: 'default', metadata: { [key]: value } },
          error: { code: 'x', message: value },
        };
        const body = render('slack', { ...FAILED, data }) as {
          text: string;
          blocks: { fields?: { text: string }[] }[];
        };
        const texts = body.blocks.flatMap((block: Record<string, unknown>) =>
          [block['text'], block['fields'], block['elements']].flat().filter(Boolean),
        ) as { text: string }[];
        const fields = body.blocks[1]?.fields ?? [];
        expect(Math.max(...fields.map((field) => field.text.length))).toBeLessThanOrEqual(2_000);
        for (const shown of [body.text, ...texts.map((one) => one.text)]) {
          expect(shown.length).toBeLessThanOrEqual(3_000);
          expect(shown).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/);
          expect(shown).not.toMatch(/\p{Surrogate}/u);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('text for Slack', () => {
  test('text for Slack is escaped once', () => {
    expect(escapeText('a & <b> &amp;')).toBe('a &amp; &lt;b&gt; &amp;amp;');
  });

  test.each([
    ['abc', 3, 'abc'],
    ['abcd', 3, 'ab…'],
    ['&&', 10, '&amp;&amp;'],
    ['&&', 9, '&amp;…'],
    ['🚀🚀', 3, '🚀…'],
  ])('text for Slack: %s in %i characters is %s', (long, most, shown) => {
    expect(clip(long, most)).toBe(shown);
  });

  test('Slack code text has nothing that would end the code span', () => {
    expect(inlineText('a`b\nc', 20)).toBe("`a'b'c`");
    expect(inlineText('abcdef', 5)).toBe('`ab…`');
  });

  test.each([
    [0, '0s'],
    [850, '0.8s'],
    [9_999, '9.9s'],
    [10_000, '10s'],
    [125_500, '2m 5s'],
    [3_600_000, '1h'],
    [3_780_000, '1h 3m'],
    [90_000_000, '1d 1h'],
    [86_460_000, '1d'],
  ])('a duration of %i ms reads as %s', (ms, shown) => {
    expect(spanText(ms)).toBe(shown);
  });
});
