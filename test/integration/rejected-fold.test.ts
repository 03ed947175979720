import { afterEach, expect, test } from '@jest/globals';
import { FOLD_MOST } from '../../src/core/delivery/fold.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import type { Channel } from '../../src/deliver/channels/channel.ts';
import { createDiscordChannel } from '../../src/deliver/channels/discord.ts';
import { createEmailChannel } from '../../src/deliver/channels/email.ts';
import { createSlackBot, createSlackWebhook } from '../../src/deliver/channels/slack.ts';
import { createTeamsChannel } from '../../src/deliver/channels/teams.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { expectNothingLeft } from '../support/delivery-invariants.ts';
import { deliveryRig } from '../support/delivery-rig.ts';
import { alertMessages } from '../support/messages.ts';
import { sampleEvent } from '../support/sample-events.ts';
import { DISCORD, DISCORD_PATH } from '../support/services/discord.ts';
import {
  startService,
  type ServiceAnswer,
  type ServiceRules,
} from '../support/services/service.ts';
import {
  SLACK_CHANNEL,
  SLACK_PATH,
  SLACK_TOKEN,
  SLACK_WEBHOOK,
  slackWebApi,
} from '../support/services/slack.ts';
import { mailboxAt, startSmtpServer } from '../support/services/smtp.ts';
import { TEAMS, TEAMS_PATH } from '../support/services/teams.ts';

/** Shown in the message about the one run that the receiver refuses. */
const REFUSED = 'refused-workflow';
const RUNS = 12;
const REFUSED_AT = 2;

/** A channel and the messages that its receiver got, with whether it refused them. */
interface Receiver {
  channel: Channel;
  wasRefused: boolean[];
  close: () => Promise<void>;
}

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const common = { mentions: {}, timeoutMs: 5_000 };

/** A chat that refuses a message for one text in it. */
function chat(
  rules: ServiceRules,
  refusal: ServiceAnswer,
  channelOf: (url: string, http: Awaited<ReturnType<typeof startService>>['http']) => Channel,
) {
  return async (): Promise<Receiver> => {
    const wasRefused: boolean[] = [];
    const service = await startService(rules);
    service.answerBy((request) => {
      const isRefused = JSON.stringify(request.body).includes(REFUSED);
      wasRefused.push(isRefused);
      return isRefused ? refusal : rules.take(request);
    });
    const { url, http, close } = service;
    return { channel: channelOf(url, http), wasRefused, close };
  };
}

/** A mail server that takes a mail for spam for one text in it. */
async function mailServer(): Promise<Receiver> {
  const wasRefused: boolean[] = [];
  const server = await startSmtpServer();
  server.answerBy((command, text) => {
    if (command !== 'DATA.') return null;
    const isRefused = text.includes(REFUSED);
    wasRefused.push(isRefused);
    return isRefused ? '554 5.7.1 taken for spam' : null;
  });
  const guard = createEndpointGuard();
  const channel = createEmailChannel(mailboxAt(server), alertMessages(), guard, Date.now);
  return { channel, wasRefused, close: server.close };
}

const receivers: Record<string, () => Promise<Receiver>> = {
  'a Slack webhook': chat(SLACK_WEBHOOK, { status: 400, body: 'invalid_payload' }, (url, http) =>
    createSlackWebhook({ url: url + SLACK_PATH, ...common }, http),
  ),
  'a Slack bot': chat(
    slackWebApi(),
    { status: 200, body: { ok: false, error: 'invalid_blocks' } },
    (apiUrl, http) => {
      const channel = SLACK_CHANNEL.name;
      const bot = { endpoint: 'chat', token: SLACK_TOKEN, channel, apiUrl, ...common };
      return createSlackBot(bot, http, alertMessages());
    },
  ),
  Teams: chat(
    TEAMS,
    { status: 400, body: { error: { code: 'InvalidRequestContent', message: 'no card' } } },
    (url, http) => createTeamsChannel({ url: url + TEAMS_PATH, ...common }, http),
  ),
  'a proxy before Teams': chat(TEAMS, { status: 413 }, (url, http) =>
    createTeamsChannel({ url: url + TEAMS_PATH, ...common }, http),
  ),
  Discord: chat(DISCORD, { status: 400, body: { code: 50_006 } }, (url, http) =>
    createDiscordChannel({ url: url + DISCORD_PATH, ...common }, http),
  ),
  'a mail server': mailServer,
};

test.each(Object.entries(receivers))(
  'of many folded events that %s gets, one that it refuses is dead and all others are delivered',
  async (name, open) => {
    const { channel, wasRefused, close } = await open();
    const rig = deliveryRig({
      limits: { most: 4, rate: 1, foldMost: FOLD_MOST },
      routeOf: async (_delivery, { retry }) => ({ channel, retry }),
      eventOf(id, type, runId) {
        const workflow = { id: runId, name: runId === `run-${REFUSED_AT + 1}` ? REFUSED : runId };
        const event = sampleEvent(type, { workflow });
        return { ...event, id, data: { ...event.data, run_id: runId } } as unknown as RunwatchEvent;
      },
    });
    closers.push(rig.close, close);
    const ids: string[] = [];
    for (let at = 0; at < RUNS; at += 1) {
      ids.push(...(await rig.plan(rig.newRun(), 'chat', ['run.failed'])));
    }
    await rig.settle();
    expect(wasRefused).toEqual([true]);
    while ((await rig.states(ids)).includes('pending')) {
      await rig.advance(60_000);
      await rig.settle();
    }
    expect(await rig.states(ids)).toEqual(
      ids.map((_, at) => (at === REFUSED_AT ? 'dead' : 'delivered')),
    );
    // 12 events, then 6 and 6, then each of the refused six alone; what is no final answer has a retry.
    expect(wasRefused).toHaveLength(1 + 2 + 6 + (name === 'a proxy before Teams' ? 1 : 0));
    await expectNothingLeft(rig);
  },
);
