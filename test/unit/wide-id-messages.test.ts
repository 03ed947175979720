import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { watchEventId } from '../../src/core/event/ids.ts';
import { BODY_KINDS } from '../../src/deliver/channels/bodies.ts';
import { discordMessage } from '../../src/deliver/channels/discord.ts';
import { emailMessage } from '../../src/deliver/channels/email.ts';
import { noticeOf } from '../../src/deliver/channels/notice/describe.ts';
import { shortRunId } from '../../src/deliver/channels/notice/notice.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { dedupKeyOf } from '../../src/deliver/channels/pagerduty.ts';
import { slackMessage } from '../../src/deliver/channels/slack.ts';
import { teamsMessage } from '../../src/deliver/channels/teams.ts';
import { anyId, twoIds } from '../support/any-id.ts';
import { newMark, NOON } from '../support/builders.ts';
import { sampleEvent } from '../support/sample-events.ts';

/** A failure of a run, of a workflow without a name. */
function failureOf(runId: string, source = 'default'): SentEvent {
  const event = sampleEvent('run.failed', {
    workflow: { id: 'w', name: null },
    data: { run_id: runId, watch: { source, metadata: {} } },
  });
  const id = watchEventId(
    { source, runId, type: 'run.failed', registeredAt: NOON, attempt: null, pastEnds: [] },
    newMark,
  );
  return { ...event, id };
}

describe('the ids of mails', () => {
  const mailOf = (event: SentEvent) =>
    emailMessage([event], { from: 'runwatch@a.example', to: ['b@a.example'], mentions: {} });
  const idsOf = (runId: string, source?: string) => {
    const { messageId, inReplyTo } = mailOf(failureOf(runId, source));
    return [String(messageId), String(inReplyTo)];
  };

  test('the ids of mails about a Noxus run say event, source and run', () => {
    expect(idsOf('run-1')).toEqual(['<evt_failed_~run-1@a.example>', '<default.run-1@a.example>']);
  });

  test('the ids of mails are atoms with dots between them, and fit on a line', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        for (const id of idsOf(runId)) expect(id).toMatch(/^<[\w~-]+(\.[\w~-]+)*@a\.example>$/);
        for (const id of idsOf(runId)) expect(id.length).toBeLessThan(300);
      }),
    );
  });

  test('mails about two runs never share an id or a thread', () => {
    fc.assert(
      fc.property(twoIds, ([one, other]) => {
        expect(new Set([...idsOf(one), ...idsOf(other)]).size).toBe(4);
      }),
    );
    expect(idsOf('a', 'eu')).not.toEqual(idsOf('eu.a'));
  });
});

describe('the keys of PagerDuty alerts', () => {
  const keyOf = (runId: string, source?: string) => dedupKeyOf(failureOf(runId, source));

  test('a key names the run, and is a hash where that is too long', () => {
    expect(keyOf('acme/shop/123', 'gh')).toBe('runwatch/run/gh/acme/shop/123');
    expect(keyOf('x'.repeat(255))).toMatch(/^runwatch\/sha256\/[0-9a-f]{64}$/);
  });

  test('two runs, and two workflows, never share a key of at most 255 characters', () => {
    const ofWorkflow = (workflow: string) =>
      dedupKeyOf({
        ...sampleEvent('workflow.stalled'),
        data: { source: 'default', workflow_id: workflow },
      });
    fc.assert(
      fc.property(twoIds, ([one, other]) => {
        const keys = [keyOf(one), keyOf(other), ofWorkflow(one), ofWorkflow(other)];
        expect(new Set(keys).size).toBe(4);
        for (const key of keys) expect(key.length).toBeLessThanOrEqual(255);
      }),
    );
    expect(keyOf(`${'x'.repeat(254)}1`)).not.toBe(keyOf(`${'x'.repeat(254)}2`));
  });
});

describe('run ids in messages', () => {
  const factOf = (facts: { name: string; value: string }[]) =>
    facts.find(({ name }) => name === 'Run')?.value ?? '';

  /** What Markdown shows of a text in which every mark is escaped. */
  const shownMarkdown = (text: string, marks: RegExp) => {
    expect(text.replaceAll(/\\./g, '')).not.toMatch(marks);
    return text.replaceAll(/\\([!-/:-@[-`{-~])/g, '$1');
  };

  test('Discord shows the id of a run as it is', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const { embeds } = discordMessage(noticeOf([failureOf(runId)])) as {
          embeds: { fields: { name: string; value: string }[] }[];
        };
        const value = factOf(embeds[0]?.fields ?? []);
        expect(shownMarkdown(value, /[\\*_~`|>[\]#<]/)).toBe(runId);
      }),
    );
  });

  test('Teams shows the id of a run as it is, and neither entities nor functions', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const text = JSON.stringify(teamsMessage(noticeOf([failureOf(runId)])));
        const { attachments } = JSON.parse(text) as {
          attachments: { content: { body: { facts?: { title: string; value: string }[] }[] } }[];
        };
        const facts = attachments[0]?.content.body.flatMap((block) => block.facts ?? []) ?? [];
        const value = facts.find(({ title }) => title === 'Run')?.value ?? '';
        expect(shownMarkdown(value, /[\\*_~`[\]<]|\{\{|&#?\w+;/)).toBe(runId);
        expect(value).not.toContain('{{');
      }),
    );
  });

  test('Teams shows the id of an event as it is', () => {
    const { id } = failureOf('_a_/*b*');
    const text = JSON.stringify(teamsMessage(noticeOf([failureOf('_a_/*b*')])));
    const [, shown = ''] = /SHORT\)\}\} \{\{TIME\([^)]*\)\}\} · ([^"]*)"/.exec(text) ?? [];
    expect(shownMarkdown(JSON.parse(`"${shown}"`) as string, /[*_~`]/)).toBe(id);
  });

  test('Slack shows the id of a run as it is, but for backticks, which it cannot escape', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const { blocks } = slackMessage(noticeOf([failureOf(runId)]));
        const fields = blocks.flatMap(
          (block) => (block as { fields?: { text: string }[] }).fields ?? [],
        );
        const field = fields.find(({ text }) => text.startsWith('*Run*\n'))?.text ?? '';
        const value = field.slice('*Run*\n'.length);
        const code = /^`([^`]+)`$/.exec(value)?.[1];
        if (code === undefined) {
          expect(value).not.toMatch(/(^|[^a-z0-9])[*_~`]\S|:[a-z0-9_+'-]+:/i);
        }
        const text = (code ?? value).replaceAll(/[<>]/g, '!');
        const shown = text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
        expect(shown.replaceAll('`', 'ˋ')).toBe(runId.replaceAll('`', 'ˋ'));
      }),
    );
  });

  test('the title of a Slack message has no markup of the run', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const { blocks, text } = slackMessage(noticeOf([failureOf(runId)]));
        const [first] = blocks as { text: { text: string } }[];
        const [, title = ''] = /^:red_circle: \*(.*)\*$/m.exec(first?.text.text ?? '') ?? [];
        expect(title).not.toMatch(/(^|[^a-z0-9])[*_~`]\S|:[a-z0-9_+'-]+:|<[@!#]/i);
        expect(text).not.toMatch(/(^|[^a-z0-9])[*_~`]\S|:[a-z0-9_+'-]+:|<[@!#]/i);
      }),
    );
  });

  test('a CloudEvent is about the run by its id', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const body = BODY_KINDS.cloudevents.render(JSON.stringify(failureOf(runId)));
        const { subject, id } = JSON.parse(body) as { subject: string; id: string };
        expect({ subject, id }).toEqual({ subject: runId, id: failureOf(runId).id });
      }),
    );
  });

  test.each([
    ['acme/shop/123', '123'],
    ['thread/5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11', '5b0f2f5e'],
    ['nightly', 'nightly'],
  ])('a title shortens the run id %s to %s', (runId, short) => {
    expect(shortRunId(runId)).toBe(short);
    expect(noticeOf([failureOf(runId)]).title).toContain(`run ${short} failed`);
  });
});
