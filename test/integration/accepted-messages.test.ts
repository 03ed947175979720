import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Channel } from '../../src/deliver/channels/channel.ts';
import { createDiscordChannel } from '../../src/deliver/channels/discord.ts';
import { createEmailChannel } from '../../src/deliver/channels/email.ts';
import { createPagerDutyChannel } from '../../src/deliver/channels/pagerduty.ts';
import { createSlackBot, createSlackWebhook } from '../../src/deliver/channels/slack.ts';
import { createTeamsChannel } from '../../src/deliver/channels/teams.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { anyEvents } from '../support/any-event.ts';
import { alertMessages, messageOf } from '../support/messages.ts';
import { DISCORD, DISCORD_PATH } from '../support/services/discord.ts';
import { PAGERDUTY, ROUTING_KEY } from '../support/services/pagerduty.ts';
import { startService, type Service } from '../support/services/service.ts';
import {
  SLACK_CHANNEL,
  SLACK_PATH,
  SLACK_TOKEN,
  SLACK_WEBHOOK,
  slackWebApi,
} from '../support/services/slack.ts';
import { mailboxAt, startSmtpServer } from '../support/services/smtp.ts';
import { TEAMS, TEAMS_PATH } from '../support/services/teams.ts';

const RUNS = 200;

let services: Record<'discord' | 'slack' | 'slackApi' | 'teams' | 'pagerduty', Service>;
let smtp: Awaited<ReturnType<typeof startSmtpServer>>;

beforeAll(async () => {
  services = {
    discord: await startService(DISCORD),
    slack: await startService(SLACK_WEBHOOK),
    slackApi: await startService(slackWebApi()),
    teams: await startService(TEAMS),
    pagerduty: await startService(PAGERDUTY),
  };
  smtp = await startSmtpServer();
});

beforeEach(() => {
  for (const service of Object.values(services)) service.reset();
  smtp.reset();
});

afterAll(async () => {
  await Promise.all(Object.values(services).map((service) => service.close()));
  await smtp.close();
});

const shared = { ownerOf: () => '@ana', timeoutMs: 15_000 };

const CHANNELS: Record<string, () => { channel: Channel; refusals: string[] }> = {
  Discord() {
    const { url, http, refusals } = services.discord;
    const webhook = { url: url + DISCORD_PATH, mentions: { '@ana': '&80351110' }, ...shared };
    return { channel: createDiscordChannel(webhook, http), refusals };
  },
  'a webhook of Slack'() {
    const { url, http, refusals } = services.slack;
    const webhook = { url: url + SLACK_PATH, mentions: { '@ana': 'U0456' }, ...shared };
    return { channel: createSlackWebhook(webhook, http), refusals };
  },
  'the Web API of Slack'() {
    const { url, http, refusals } = services.slackApi;
    const bot = {
      endpoint: 'chat',
      token: SLACK_TOKEN,
      channel: SLACK_CHANNEL.name,
      apiUrl: url,
      mentions: {},
      ...shared,
    };
    return { channel: createSlackBot(bot, http, alertMessages()), refusals };
  },
  Teams() {
    const { url, http, refusals } = services.teams;
    const webhook = { url: url + TEAMS_PATH, mentions: { '@ana': 'ana@example.com' }, ...shared };
    return { channel: createTeamsChannel(webhook, http), refusals };
  },
  PagerDuty() {
    const { url, http, refusals } = services.pagerduty;
    const service = { routingKey: ROUTING_KEY, apiUrl: url, ...shared };
    return { channel: createPagerDutyChannel(service, http), refusals };
  },
  'a mail server'() {
    const guard = createEndpointGuard();
    return {
      channel: createEmailChannel(
        { ...mailboxAt(smtp), ...shared },
        alertMessages(),
        guard,
        Date.now,
      ),
      refusals: smtp.refusals,
    };
  },
};

test.each(Object.entries(CHANNELS))(
  '%s refuses no message, whatever the events that it covers',
  async (_service, open) => {
    const { channel, refusals } = open();
    await fc.assert(
      fc.asyncProperty(anyEvents, async (events) => {
        refusals.length = 0;
        const { kind } = await channel.send(messageOf(...events));
        expect([kind, refusals]).toEqual(['delivered', []]);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  60_000,
);
