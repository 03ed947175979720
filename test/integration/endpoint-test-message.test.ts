import { afterEach, expect, test } from '@jest/globals';
import type { Channel } from '../../src/deliver/channels/channel.ts';
import { createDiscordChannel } from '../../src/deliver/channels/discord.ts';
import { createEmailChannel } from '../../src/deliver/channels/email.ts';
import { createPagerDutyChannel } from '../../src/deliver/channels/pagerduty.ts';
import { createSlackBot, createSlackWebhook } from '../../src/deliver/channels/slack.ts';
import { createTeamsChannel } from '../../src/deliver/channels/teams.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { testEndpoint } from '../../src/deliver/endpoint-control.ts';
import { newMark, NOON } from '../support/builders.ts';
import { alertMessages } from '../support/messages.ts';
import { DISCORD, DISCORD_PATH } from '../support/services/discord.ts';
import { PAGERDUTY, ROUTING_KEY } from '../support/services/pagerduty.ts';
import { startService, type Service, type ServiceRules } from '../support/services/service.ts';
import {
  SLACK_CHANNEL,
  SLACK_PATH,
  SLACK_TOKEN,
  SLACK_WEBHOOK,
  slackWebApi,
} from '../support/services/slack.ts';
import { mailboxAt, startSmtpServer } from '../support/services/smtp.ts';
import { TEAMS, TEAMS_PATH } from '../support/services/teams.ts';

const TITLE = '[Test] 3 runs of invoices failed (failed-runs)';
const SUMMARY = 'This is what an alert of runwatch looks like; nothing has failed.';

const services: Service[] = [];

async function started(rules: ServiceRules): Promise<Service> {
  const service = await startService(rules);
  services.push(service);
  return service;
}

afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.close()));
});

async function sendTest(channel: Channel) {
  const route = { channel, retry: [] };
  return testEndpoint(route, { endpoint: 'chat', isForPeople: true, now: NOON, newMark });
}

const shared = { mentions: {}, timeoutMs: 5_000 };

test.each<[string, ServiceRules, (service: Service) => Channel]>([
  [
    'a webhook of Slack',
    SLACK_WEBHOOK,
    ({ url, http }) => createSlackWebhook({ url: url + SLACK_PATH, ...shared }, http),
  ],
  [
    'an app of Slack',
    slackWebApi(),
    ({ url, http }) =>
      createSlackBot(
        {
          endpoint: 'chat',
          token: SLACK_TOKEN,
          channel: SLACK_CHANNEL.name,
          apiUrl: url,
          ...shared,
        },
        http,
        alertMessages(),
      ),
  ],
  [
    'Discord',
    DISCORD,
    ({ url, http }) => createDiscordChannel({ url: url + DISCORD_PATH, ...shared }, http),
  ],
  [
    'Teams',
    TEAMS,
    ({ url, http }) => createTeamsChannel({ url: url + TEAMS_PATH, ...shared }, http),
  ],
])('a test of %s shows a whole alert, marked as a test', async (_what, rules, open) => {
  const service = await started(rules);
  expect(await sendTest(open(service))).toMatchObject({ delivered: true });
  expect(service.requests).toHaveLength(1);
  const posted = JSON.stringify(service.requests[0]?.body);
  // Discord escapes brackets.
  expect(posted.replaceAll('\\', '')).toContain(TITLE);
  expect(posted).toContain(SUMMARY);
  expect(posted).toContain('sample-run');
});

test('a test of PagerDuty shows a whole alert of severity info, and ends it', async () => {
  const { url, http, requests } = await started(PAGERDUTY);
  const config = { routingKey: ROUTING_KEY, apiUrl: url, timeoutMs: 5_000 };
  expect(await sendTest(createPagerDutyChannel(config, http))).toMatchObject({ delivered: true });
  const [first, second] = requests.map(({ body }) => body);
  expect(first).toMatchObject({
    event_action: 'trigger',
    payload: { summary: TITLE, severity: 'info' },
  });
  expect(second).toMatchObject({ event_action: 'resolve', dedup_key: first?.['dedup_key'] });
});

test('a test mail shows a whole alert in its subject, text and HTML', async () => {
  const smtp = await startSmtpServer();
  const guard = createEndpointGuard();
  const sent = await sendTest(
    createEmailChannel(mailboxAt(smtp), alertMessages(), guard, Date.now),
  );
  await smtp.close();
  expect(sent).toMatchObject({ delivered: true });
  const text = smtp.mails
    .at(-1)
    ?.text.replaceAll(/=\n/g, '')
    .replaceAll(/\n[ \t]+/g, ' ');
  expect(text).toContain(`Subject: ${TITLE}`);
  expect(text?.split(SUMMARY)).toHaveLength(3);
});
