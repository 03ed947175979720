import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { noticeOf } from '../../src/deliver/channels/notice/describe.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { clip, escapeText, slackMessage } from '../../src/deliver/channels/slack.ts';
import { sampleAlert, sampleEvent, sampleFailures } from '../support/sample-events.ts';

const messageOf = (event: SentEvent, mentions = {}) => slackMessage(noticeOf([event]), mentions);

const markdown = (text: string) => ({ type: 'mrkdwn', text, verbatim: true });
const section = (text: string) => ({ type: 'section', text: markdown(text) });

test('a Slack message has a title, facts, links and the time of the reader', () => {
  const event = sampleEvent('run.failed');
  expect(messageOf(event)).toEqual({
    text: 'invoices failed at 60 % after 6 s',
    blocks: [
      section(':red_circle: *invoices failed at 60 % after 6 s*'),
      {
        type: 'section',
        fields: [
          markdown(`*Run*\n${event.data.run_id}`),
          markdown('*Workflow*\ninvoices · 3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11'),
          markdown('*Source*\ndefault'),
          markdown('*Metadata*\nteam: billing'),
        ],
      },
      section(`<${event.data.run_url}|Open run> · <${event.data.watch_url}|Open in runwatch>`),
      {
        type: 'context',
        elements: [
          markdown(
            '<!date^1767268806^{date_short_pretty} at {time_secs}|2026-01-01T12:00:06.000Z> · evt_1',
          ),
        ],
      },
    ],
    unfurl_links: false,
    unfurl_media: false,
  });
});

test('a Slack message without addresses has no links', () => {
  const event = sampleEvent('run.failed', { data: { run_url: null, watch_url: null } });
  expect(JSON.stringify(messageOf(event))).not.toContain('https:');
});

test('a Slack message has links in its text, and no button, which would need an app that takes clicks', () => {
  const alert = { annotations: { runbook_url: 'https://wiki.example.com/?a=1&b=2' } };
  const { blocks } = messageOf(sampleAlert('alert.firing', { alert }));
  expect(blocks).toContainEqual(
    section(
      '<https://wiki.example.com/?a=1&amp;b=2|Runbook> · <https://runwatch.example.com/alerts/alr_7f3a|Open in runwatch>',
    ),
  );
  expect(JSON.stringify(blocks)).not.toContain('button');
});

describe('the owner in a Slack message', () => {
  test.each([
    ['U0456', '<@U0456>'],
    ['S0456', '<!subteam^S0456>'],
    ['here', '<!here>'],
  ])('an owner that is configured as %s is mentioned by %s', (id, mark) => {
    const blocks = JSON.stringify(messageOf(sampleAlert('alert.firing'), { '@ana': id }).blocks);
    expect(blocks).toContain(mark);
  });

  test('an owner that is not configured is named and notifies no user', () => {
    const owner = '<!channel>';
    const blocks = JSON.stringify(messageOf(sampleAlert('alert.firing', { alert: { owner } })));
    expect(blocks).toContain('&lt;!channel&gt;');
    expect(blocks).not.toContain('<!channel>');
  });
});

test('a Slack message about 500 events lists five of them and a count with a link', () => {
  const { text, blocks } = slackMessage(noticeOf(sampleFailures(500)));
  expect(text).toBe('500 runs of 2 workflows failed. invoices: 334 · monthly report: 166');
  const listed = JSON.stringify(blocks);
  expect(listed.match(/• </g)).toHaveLength(5);
  expect(listed).toContain('<https://runwatch.example.com/runs?status=failed|and 495 more>');
  expect(listed).toContain('evt_1 and 499 more');
});

test('a resolved alert has a check mark in Slack', () => {
  expect(JSON.stringify(messageOf(sampleAlert('alert.resolved')))).toContain(
    ':white_check_mark: *Resolved',
  );
});

test('a Slack message keeps to the limits of blocks and has no marks but its own, for any event', () => {
  const wild = fc.string({
    unit: fc.constantFrom('&', '<', '>', '🚀', 'a', '*', '|', '\n'),
    size: 'max',
    maxLength: 3_500,
  });
  fc.assert(
    fc.property(wild, wild, wild, (name, key, value) => {
      const event = sampleEvent('run.failed', {
        workflow: { id: value, name },
        run: { status: value },
        data: {
          watch: { source: 'default', metadata: { [key]: value } },
          error: { code: 'x', message: value },
          run_url: `https://a.example/?${encodeURIComponent(value.replaceAll('🚀', '').slice(0, 200))}`,
        },
      });
      const folded = noticeOf([event, event, event, event]);
      for (const { text, blocks } of [messageOf(event), slackMessage(folded)]) {
        const texts = textsIn(blocks);
        for (const shown of [text, ...texts]) {
          expect(shown.length).toBeLessThanOrEqual(3_000);
          expect(shown.replaceAll(/<(!date\^|https:\/\/)[^<>]*>/g, '')).not.toMatch(
            /[<>]|&(?!amp;|lt;|gt;)/,
          );
          expect(shown).not.toMatch(/\p{Surrogate}/u);
        }
      }
    }),
    { numRuns: 30, endOnFailure: true },
  );
});

/** Every text of markdown in blocks. */
function textsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const { type, text } = value as { type?: string; text?: unknown };
  if (type === 'mrkdwn' && typeof text === 'string') return [text];
  return Object.values(value).flatMap(textsIn);
}

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
});
