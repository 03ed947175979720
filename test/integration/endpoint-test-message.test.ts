import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Channel } from '../../src/deliver/channels/channel.ts';
import { createDiscordChannel } from '../../src/deliver/channels/discord.ts';
import { createEmailChannel } from '../../src/deliver/channels/email.ts';
import { createPagerDutyChannel } from '../../src/deliver/channels/pagerduty.ts';
import { createSlackBot, createSlackWebhook } from '../../src/deliver/channels/slack.ts';
import { createTeamsChannel } from '../../src/deliver/channels/teams.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { testEndpoint } from '../../src/deliver/endpoint-control.ts';
import { newMark, NOON } from '../support/builders.ts';
import { startService, type Service, type ServiceAnswer } from '../support/chat-server.ts';
import { startSmtpServer } from '../support/smtp-server.ts';

const TITLE = '[Test] 3 runs of invoices failed (failed-runs)';
const SUMMARY = 'This is what an alert of runwatch looks like; nothing has failed.';

let service: Service;
let smtp: Awaited<ReturnType<typeof startSmtpServer>>;
let answer: ServiceAnswer;

beforeAll(async () => {
  service = await startService(() => answer);
  smtp = await startSmtpServer();
});

beforeEach(() => {
  service.requests.length = 0;
});

afterAll(async () => {
  await service.close();
  await smtp.close();
});

async function sendTest(channel: Channel) {
  const route = { channel, retry: [] };
  return testEndpoint(route, { endpoint: 'chat', isForPeople: true, now: NOON, newMark });
}

const posted = () => JSON.stringify(service.requests.at(-1)?.body);
const shared = { mentions: {}, timeoutMs: 5_000 };

test.each<[string, ServiceAnswer, () => Channel]>([
  [
    'a webhook of Slack',
    { status: 200, body: 'ok' },
    () => createSlackWebhook({ url: `${service.url}/services/T0/B0/X`, ...shared }, service.deps),
  ],
  [
    'an app of Slack',
    { status: 200, body: { ok: true, channel: 'C1', ts: '1.2' } },
    () =>
      createSlackBot(
        { endpoint: 'chat', token: 'xoxb-1', channel: '#runs', apiUrl: service.url, ...shared },
        { ...service.deps, alertMessages: { get: async () => null, put: async () => undefined } },
      ),
  ],
  [
    'Discord',
    { status: 204 },
    () => createDiscordChannel({ url: `${service.url}/api/webhooks/1/x`, ...shared }, service.deps),
  ],
  [
    'Teams',
    { status: 202 },
    () => createTeamsChannel({ url: `${service.url}/workflows/x`, ...shared }, service.deps),
  ],
])('a test of %s shows a whole alert, marked as a test', async (_what, said, channel) => {
  answer = said;
  expect(await sendTest(channel())).toMatchObject({ delivered: true });
  expect(service.requests).toHaveLength(1);
  // Discord escapes brackets.
  expect(posted().replaceAll('\\', '')).toContain(TITLE);
  expect(posted()).toContain(SUMMARY);
  expect(posted()).toContain('sample-run');
});

test('a test of PagerDuty shows a whole alert of severity info, and ends it', async () => {
  answer = { status: 202, body: { status: 'success' } };
  const config = { routingKey: 'R'.repeat(32), apiUrl: service.url, timeoutMs: 5_000 };
  const channel = createPagerDutyChannel(config, service.deps);
  expect(await sendTest(channel)).toMatchObject({ delivered: true });
  const [first, second] = service.requests.map(({ body }) => body);
  expect(first).toMatchObject({
    event_action: 'trigger',
    payload: { summary: TITLE, severity: 'info' },
  });
  expect(second).toMatchObject({ event_action: 'resolve', dedup_key: first?.['dedup_key'] });
});

test('a test mail shows a whole alert in its subject, text and HTML', async () => {
  const mailbox = {
    host: smtp.host,
    port: smtp.port,
    isSecure: false,
    requiresTls: false,
    auth: null,
    tls: {},
    from: 'runwatch@example.com',
    to: ['ops@example.com'],
    ...shared,
  };
  const channel = createEmailChannel(mailbox, { now: Date.now, guard: createEndpointGuard() });
  expect(await sendTest(channel)).toMatchObject({ delivered: true });
  const text = smtp.mails
    .at(-1)
    ?.text.replaceAll(/=\n/g, '')
    .replaceAll(/\n[ \t]+/g, ' ');
  expect(text).toContain(`Subject: ${TITLE}`);
  expect(text?.split(SUMMARY)).toHaveLength(3);
});
