import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Channel } from '../../src/deliver/channels/channel.ts';
import { createDiscordChannel } from '../../src/deliver/channels/discord.ts';
import { createPagerDutyChannel } from '../../src/deliver/channels/pagerduty.ts';
import { createTeamsChannel } from '../../src/deliver/channels/teams.ts';
import { messageOf } from '../support/messages.ts';
import {
  sampleAlert,
  sampleEvent,
  sampleFailures,
  sampleSystemEvent,
} from '../support/sample-events.ts';
import { DISCORD, DISCORD_PATH } from '../support/services/discord.ts';
import { PAGERDUTY, ROUTING_KEY } from '../support/services/pagerduty.ts';
import {
  SENDING,
  startService,
  type Service,
  type ServiceRules,
} from '../support/services/service.ts';
import { TEAMS, TEAMS_PATH } from '../support/services/teams.ts';

let service: Service;

/** Puts a service in the place of the real one, for the tests of a block. */
function withService(rules: ServiceRules): void {
  beforeAll(async () => {
    service = await startService(rules);
  });

  beforeEach(() => {
    service.reset();
  });

  afterEach(() => {
    expect(service.refusals).toEqual([]);
  });

  afterAll(() => service.close());
}

const FAILED = messageOf(sampleEvent('run.failed'));
const lastBody = () => service.requests.at(-1)?.body ?? {};

describe('Discord', () => {
  withService(DISCORD);
  const mentions = { '@ana': '80351110224678912' };
  const channel = (): Channel =>
    createDiscordChannel(
      { url: service.url + DISCORD_PATH, mentions, timeoutMs: 5_000 },
      service.http,
    );

  test('Discord gets a title that notifications show, and an embed', async () => {
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'delivered' });
    expect(service.requests[0]?.path).toBe(DISCORD_PATH);
    expect(lastBody()).toMatchObject({
      content: '**invoices failed at 60 % after 6 s**',
      embeds: [
        {
          color: 0xd92d20,
          description: expect.stringContaining('[Open run](https://app.noxus.example/runs/'),
          timestamp: '2026-01-01T12:00:06.000Z',
        },
      ],
      allowed_mentions: { parse: [] },
    });
  });

  test('Discord notifies the configured owner and no user that a name mentions', async () => {
    await channel().send(messageOf(sampleAlert('alert.firing')));
    expect(lastBody()).toMatchObject({
      content: expect.stringContaining('<@80351110224678912>'),
      allowed_mentions: { parse: [], users: ['80351110224678912'] },
    });
  });

  test('an embed of Discord keeps to 6,000 characters, however many events it covers', async () => {
    const long = 'x*'.repeat(3_000);
    const [first, ...rest] = sampleFailures(500).map((event) => {
      event.data.workflow_name = long;
      event.data.run_url = `https://a.example/${'y'.repeat(1_900)}`;
      return event;
    });
    await channel().send(messageOf(first!, ...rest));
    const data = {
      watch: { source: 'default', metadata: { a: long } },
      error: { code: 'x', message: long },
    };
    await channel().send(messageOf(sampleEvent('run.failed', { data })));
    const folded = service.requests[0]?.body['embeds'] as { description?: string }[];
    const listed = folded[0]?.description?.match(/^• /gm)?.length ?? 0;
    expect(folded[0]?.description).toContain(`and ${500 - listed} more`);
    for (const { body } of service.requests) {
      const [embed] = body['embeds'] as {
        description?: string;
        fields: { name: string; value: string }[];
        footer: { text: string };
      }[];
      const texts = [embed?.description ?? '', embed?.footer.text ?? ''].concat(
        (embed?.fields ?? []).flatMap(({ name, value }) => [name, value]),
      );
      expect(texts.join('').length).toBeLessThanOrEqual(6_000);
      expect(String(body['content']).length).toBeLessThanOrEqual(2_000);
    }
  });

  test('429 of Discord pauses for the seconds of its body, which have a fraction', async () => {
    const body = { message: 'You are being rate limited.', retry_after: 1.337, global: false };
    service.answerBy(() => ({ status: 429, headers: { 'retry-after': '1' }, body }));
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 1_337 });
  });

  test.each([
    [404, { message: 'Unknown Webhook', code: 10_015 }, 'refused'],
    [401, { message: 'Invalid Webhook Token', code: 50_027 }, 'refused'],
    [400, { message: 'Invalid Form Body', code: 50_035 }, 'rejected'],
    [502, 'Bad gateway', 'failed'],
    [403, '<html>of a proxy</html>', 'failed'],
  ])('%i %j of Discord: %s', async (status, body, kind) => {
    service.answerBy(() => ({ status, body }));
    expect((await channel().send(FAILED)).kind).toBe(kind);
  });

  test('429 of Discord that names no time pauses for half a minute', async () => {
    service.answerBy(() => ({ status: 429, body: 'a page of a proxy' }));
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 30_000 });
  });

  test('the token of a Discord webhook is in no stored answer', async () => {
    service.answerBy(() => ({ status: 500, body: `no ${DISCORD_PATH}` }));
    expect(JSON.stringify(await channel().send(FAILED))).not.toContain('secret-token');
  });
});

describe('Teams', () => {
  withService(TEAMS);
  const mentions = { '@ana': 'ana@example.com' };
  const channel = (): Channel =>
    createTeamsChannel({ url: service.url + TEAMS_PATH, mentions, timeoutMs: 5_000 }, service.http);

  test('Teams gets an Adaptive Card, and 202 delivers it', async () => {
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'delivered' });
    expect(lastBody()).toMatchObject({
      type: 'message',
      attachments: [
        {
          contentType: 'application/vnd.microsoft.card.adaptive',
          contentUrl: null,
          content: {
            type: 'AdaptiveCard',
            version: '1.4',
            fallbackText: 'invoices failed at 60 % after 6 s',
            actions: [
              { type: 'Action.OpenUrl', title: 'Open run' },
              { type: 'Action.OpenUrl', title: 'Open in runwatch' },
            ],
          },
        },
      ],
    });
    expect(JSON.stringify(lastBody())).toContain('{{DATE(2026-01-01T12:00:06Z,SHORT)}}');
  });

  test('Teams mentions the owner by the configured address', async () => {
    await channel().send(messageOf(sampleAlert('alert.firing')));
    const card = JSON.stringify(lastBody());
    expect(card).toContain(
      '"text":"<at>ana</at>","mentioned":{"id":"ana@example.com","name":"ana"}',
    );
  });

  test('a card of Teams is smaller than the 28 KB that a message may have', async () => {
    const [first, ...rest] = sampleFailures(500).map((event) => {
      event.data.run_url = `https://a.example/${'y'.repeat(1_980)}`;
      event.data.workflow_name = '💥'.repeat(500);
      return event;
    });
    await channel().send(messageOf(first!, ...rest));
    const { alert } = sampleAlert('alert.firing').data;
    const runs = Array.from({ length: 50 }, () => ({
      ...alert!.runs[0]!,
      url: `https://a.example/${'y'.repeat(1_980)}`,
    }));
    await channel().send(messageOf(sampleAlert('alert.firing', { alert: { runs } })));
    for (const { body } of service.requests) {
      expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(28_000);
    }
  });

  test('429 of Teams that names no time pauses for half a minute', async () => {
    service.answerBy(() => ({ status: 429, body: { error: { code: 'TooManyRequests' } } }));
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 30_000 });
  });

  test.each([
    [404, 'WorkflowNotFound', 'refused'],
    [400, 'TriggerInputSchemaMismatch', 'rejected'],
    [401, 'DirectApiAuthorizationRequired', 'rejected'],
    [400, 'WorkflowTriggerIsNotEnabled', 'failed'],
    [502, 'NoResponse', 'failed'],
  ])('%i %s of Teams: %s', async (status, code, kind) => {
    service.answerBy(() => ({ status, body: { error: { code, message: 'why' } } }));
    const outcome = await channel().send(FAILED);
    expect(outcome.kind).toBe(kind);
  });

  test('429 of Teams pauses for as long as Retry-After says', async () => {
    service.answerBy(() => ({ status: 429, headers: { 'retry-after': '17' }, body: '' }));
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 17_000 });
  });
});

describe('PagerDuty', () => {
  withService(PAGERDUTY);
  const channel = (): Channel =>
    createPagerDutyChannel(
      { routingKey: ROUTING_KEY, apiUrl: service.url, ...SENDING },
      service.http,
    );

  test('a firing alert triggers PagerDuty, with the alert id as key', async () => {
    expect(await channel().send(messageOf(sampleAlert('alert.firing')))).toMatchObject({
      kind: 'delivered',
      attempt: { status: 202 },
    });
    expect(service.requests[0]?.path).toBe('/v2/enqueue');
    expect(lastBody()).toMatchObject({
      routing_key: ROUTING_KEY,
      event_action: 'trigger',
      dedup_key: 'alr_7f3a',
      payload: {
        summary: '12 runs of invoices failed (failed-runs)',
        source: 'Noxus source default',
        severity: 'error',
        class: 'alert.firing',
        custom_details: { Owner: '@ana', 'Further runs': 7 },
      },
      links: [
        { href: 'https://wiki.example.com/invoices', text: 'Runbook' },
        { href: 'https://runwatch.example.com/alerts/alr_7f3a', text: 'Open in runwatch' },
      ],
      client: 'runwatch',
    });
  });

  test.each([
    ['alert.updated', 'trigger'],
    ['alert.acknowledged', 'acknowledge'],
    ['alert.resolved', 'resolve'],
  ])('%s is "%s" of PagerDuty with the same key', async (type, action) => {
    await channel().send(messageOf(sampleAlert(type)));
    expect(lastBody()).toMatchObject({ event_action: action, dedup_key: 'alr_7f3a' });
  });

  test.each([
    ['run.stalled', 'trigger'],
    ['run.recovered', 'resolve'],
    ['run.failed', 'trigger'],
    ['run.completed', 'resolve'],
  ])('without rules one run is one alert of PagerDuty: %s is "%s"', async (type, action) => {
    await channel().send(messageOf(sampleEvent(type)));
    expect(lastBody()).toMatchObject({
      event_action: action,
      dedup_key: 'runwatch/run/default/0b1c2d3e-4f50-4617-8293-000000000001',
    });
  });

  test.each([
    ['source.unreachable', 'trigger'],
    ['source.recovered', 'resolve'],
  ])('%s about a source is "%s"', async (type, action) => {
    await channel().send(messageOf(sampleSystemEvent(type, { source: 'default' })));
    expect(lastBody()).toMatchObject({
      event_action: action,
      dedup_key: 'runwatch/source/default',
    });
  });

  test('the backlogs of two workflows are two alerts of PagerDuty, each with its end', async () => {
    for (const [type, id] of [
      ['workflow.stalled', 'wf-1'],
      ['workflow.stalled', 'wf-2'],
      ['workflow.recovered', 'wf-1'],
    ] as const) {
      const data = { source: 'default', workflow_id: id, workflow_name: 'letters' };
      await channel().send(messageOf(sampleSystemEvent(type, data)));
    }
    const sent = service.requests.map(({ body }) => [body?.['event_action'], body?.['dedup_key']]);
    expect(sent.slice(-3)).toEqual([
      ['trigger', 'runwatch/workflow/default/wf-1'],
      ['trigger', 'runwatch/workflow/default/wf-2'],
      ['resolve', 'runwatch/workflow/default/wf-1'],
    ]);
    expect(lastBody()).toMatchObject({ payload: { summary: 'Runs of letters move on again' } });
  });

  test('a test of PagerDuty has severity info, and is resolved at once', async () => {
    await channel().send(messageOf(sampleSystemEvent('runwatch.test', { endpoint: 'pager' })));
    const [first, second] = service.requests.map(({ body }) => body);
    expect(first).toMatchObject({ event_action: 'trigger', payload: { severity: 'info' } });
    expect(second).toMatchObject({ event_action: 'resolve', dedup_key: first?.['dedup_key'] });
  });

  test('a summary of PagerDuty has at most 1,024 characters', async () => {
    const alert = { rule: 'x'.repeat(2_000), runs: [] };
    await channel().send(messageOf(sampleAlert('alert.firing', { alert })));
    const { summary } = lastBody()['payload'] as { summary: string };
    expect(summary.length).toBeLessThanOrEqual(1_024);
  });

  test('400 of PagerDuty is final, and the attempt records its errors', async () => {
    const errors = ["Length of 'routing_key' is incorrect (should be 32 characters)"];
    service.answerBy(() => ({
      status: 400,
      body: { status: 'invalid event', message: 'Event object is invalid', errors },
    }));
    const outcome = await channel().send(FAILED);
    expect(outcome.kind).toBe('rejected');
    expect(outcome.attempt.error?.message).toContain("Length of 'routing_key'");
  });

  test('429 of PagerDuty pauses, and 5xx is sent again', async () => {
    service.answerBy(() => ({ status: 429 }));
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 30_000 });
    service.answerBy(() => ({ status: 500 }));
    expect((await channel().send(FAILED)).kind).toBe('failed');
  });

  test('the routing key of PagerDuty is in no stored answer', async () => {
    service.answerBy(() => ({ status: 400, body: { message: `bad ${ROUTING_KEY}` } }));
    expect(JSON.stringify(await channel().send(FAILED))).not.toContain(ROUTING_KEY);
  });
});
