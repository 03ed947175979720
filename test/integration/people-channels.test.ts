import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Channel, Message } from '../../src/deliver/channels/channel.ts';
import { createDiscordChannel } from '../../src/deliver/channels/discord.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { createPagerDutyChannel } from '../../src/deliver/channels/pagerduty.ts';
import { createTeamsChannel } from '../../src/deliver/channels/teams.ts';
import { startService, type Service, type ServiceAnswer } from '../support/chat-server.ts';
import {
  sampleAlert,
  sampleEvent,
  sampleFailures,
  sampleSystemEvent,
} from '../support/sample-events.ts';

const ROUTING_KEY = 'R0123456789abcdef0123456789abcde';

let service: Service;
let answer: ServiceAnswer;

beforeAll(async () => {
  service = await startService(() => answer);
});

beforeEach(() => {
  service.requests.length = 0;
});

afterAll(() => service.close());

function messageOf(event: SentEvent, ...others: SentEvent[]): Message {
  return {
    eventId: event.id,
    eventType: event.type as Message['eventType'],
    body: JSON.stringify(event),
    ...(others.length > 0 && {
      others: others.map((other) => ({ eventId: other.id, body: JSON.stringify(other) })),
    }),
  };
}

const FAILED = messageOf(sampleEvent('run.failed'));
const lastBody = () => service.requests.at(-1)?.body ?? {};

describe('Discord', () => {
  const PATH = '/api/webhooks/1234/secret-token-of-discord';
  const mentions = { '@ana': '80351110224678912' };
  const channel = (): Channel =>
    createDiscordChannel({ url: service.url + PATH, mentions, timeoutMs: 5_000 }, service.deps);

  test('Discord gets a title that notifications show, and an embed', async () => {
    answer = { status: 204 };
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'delivered' });
    expect(service.requests[0]?.path).toBe(PATH);
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
    answer = { status: 204 };
    await channel().send(messageOf(sampleAlert('alert.firing')));
    expect(lastBody()).toMatchObject({
      content: expect.stringContaining('<@80351110224678912>'),
      allowed_mentions: { parse: [], users: ['80351110224678912'] },
    });
  });

  test('an embed of Discord keeps to 6,000 characters, however many events it covers', async () => {
    answer = { status: 204 };
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
    answer = { status: 429, headers: { 'retry-after': '1' }, body };
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 1_337 });
  });

  test.each([
    [404, { message: 'Unknown Webhook', code: 10_015 }, 'refused'],
    [401, { message: 'Invalid Webhook Token', code: 50_027 }, 'refused'],
    [400, { message: 'Invalid Form Body', code: 50_035 }, 'rejected'],
    [502, 'Bad gateway', 'failed'],
    [403, '<html>of a proxy</html>', 'failed'],
  ])('%i %j of Discord: %s', async (status, body, kind) => {
    answer = { status, body };
    expect((await channel().send(FAILED)).kind).toBe(kind);
  });

  test('the token of a Discord webhook is in no stored answer', async () => {
    answer = { status: 500, body: `no ${PATH}` };
    expect(JSON.stringify(await channel().send(FAILED))).not.toContain('secret-token');
  });
});

describe('Teams', () => {
  const mentions = { '@ana': 'ana@example.com' };
  const channel = (): Channel =>
    createTeamsChannel(
      { url: `${service.url}/workflows/a?sig=secret-of-teams`, mentions, timeoutMs: 5_000 },
      service.deps,
    );

  test('Teams gets an Adaptive Card, and 202 delivers it', async () => {
    answer = { status: 202 };
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
    answer = { status: 202 };
    await channel().send(messageOf(sampleAlert('alert.firing')));
    const card = JSON.stringify(lastBody());
    expect(card).toContain(
      '"text":"<at>ana</at>","mentioned":{"id":"ana@example.com","name":"ana"}',
    );
  });

  test('a card of Teams is smaller than the 28 KB that a message may have', async () => {
    answer = { status: 202 };
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

  test.each([
    [404, 'WorkflowNotFound', 'refused'],
    [400, 'TriggerInputSchemaMismatch', 'rejected'],
    [401, 'DirectApiAuthorizationRequired', 'rejected'],
    [400, 'WorkflowTriggerIsNotEnabled', 'failed'],
    [502, 'NoResponse', 'failed'],
  ])('%i %s of Teams: %s', async (status, code, kind) => {
    answer = { status, body: { error: { code, message: 'why' } } };
    const outcome = await channel().send(FAILED);
    expect(outcome.kind).toBe(kind);
  });

  test('429 of Teams pauses for as long as Retry-After says', async () => {
    answer = { status: 429, headers: { 'retry-after': '17' }, body: '' };
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 17_000 });
  });
});

describe('PagerDuty', () => {
  const channel = (): Channel =>
    createPagerDutyChannel(
      { routingKey: ROUTING_KEY, apiUrl: service.url, timeoutMs: 5_000 },
      service.deps,
    );
  const accepted = {
    status: 202,
    body: { status: 'success', message: 'Event processed', dedup_key: 'x' },
  };

  test('a firing alert triggers PagerDuty, with the alert id as key', async () => {
    answer = accepted;
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
        source: 'noxus source default',
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
    answer = accepted;
    await channel().send(messageOf(sampleAlert(type)));
    expect(lastBody()).toMatchObject({ event_action: action, dedup_key: 'alr_7f3a' });
  });

  test.each([
    ['run.stalled', 'trigger'],
    ['run.recovered', 'resolve'],
    ['run.failed', 'trigger'],
    ['run.completed', 'resolve'],
  ])('without rules one run is one alert of PagerDuty: %s is "%s"', async (type, action) => {
    answer = accepted;
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
    answer = accepted;
    await channel().send(messageOf(sampleSystemEvent(type, { source: 'default' })));
    expect(lastBody()).toMatchObject({
      event_action: action,
      dedup_key: 'runwatch/source/default',
    });
  });

  test('a test of PagerDuty has severity info, and is resolved at once', async () => {
    answer = accepted;
    await channel().send(messageOf(sampleSystemEvent('runwatch.test', { endpoint: 'pager' })));
    const [first, second] = service.requests.map(({ body }) => body);
    expect(first).toMatchObject({ event_action: 'trigger', payload: { severity: 'info' } });
    expect(second).toMatchObject({ event_action: 'resolve', dedup_key: first?.['dedup_key'] });
  });

  test('a summary of PagerDuty has at most 1,024 characters', async () => {
    answer = accepted;
    const alert = { rule: 'x'.repeat(2_000), runs: [] };
    await channel().send(messageOf(sampleAlert('alert.firing', { alert })));
    const { summary } = lastBody()['payload'] as { summary: string };
    expect(summary.length).toBeLessThanOrEqual(1_024);
  });

  test('400 of PagerDuty is final, and the attempt records its errors', async () => {
    const errors = ["Length of 'routing_key' is incorrect (should be 32 characters)"];
    answer = {
      status: 400,
      body: { status: 'invalid event', message: 'Event object is invalid', errors },
    };
    const outcome = await channel().send(FAILED);
    expect(outcome.kind).toBe('rejected');
    expect(outcome.attempt.error?.message).toContain("Length of 'routing_key'");
  });

  test('429 of PagerDuty pauses, and 5xx is sent again', async () => {
    answer = { status: 429 };
    expect(await channel().send(FAILED)).toMatchObject({ kind: 'throttled', retryAfterMs: 30_000 });
    answer = { status: 500 };
    expect((await channel().send(FAILED)).kind).toBe('failed');
  });

  test('the routing key of PagerDuty is in no stored answer', async () => {
    answer = { status: 400, body: { message: `bad ${ROUTING_KEY}` } };
    expect(JSON.stringify(await channel().send(FAILED))).not.toContain(ROUTING_KEY);
  });
});
