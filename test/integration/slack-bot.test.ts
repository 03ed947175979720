import { afterAll, afterEach, beforeEach, expect, test } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { createSlackBot } from '../../src/deliver/channels/slack.ts';
import { AlertMessageStore } from '../../src/redis/stores/alert-store.ts';
import { messageOf } from '../support/messages.ts';
import { sampleAlert, sampleEvent } from '../support/sample-events.ts';
import { startService, type Service } from '../support/services/service.ts';
import { SLACK_CHANNEL, SLACK_TOKEN, slackWebApi } from '../support/services/slack.ts';
import { openStores } from '../support/stores.ts';

const { redis, keys, close } = openStores();

let slack: Service;

beforeEach(async () => {
  slack = await startService(slackWebApi());
  await redis.del(keys.alertMessage('chat', 'alr_7f3a'));
});

afterEach(async () => {
  expect(slack.refusals).toEqual([]);
  await slack.close();
});

afterAll(async () => {
  await close();
});

function slackBot(put?: AlertMessageStore['put']) {
  const bot = {
    endpoint: 'chat',
    token: SLACK_TOKEN,
    channel: SLACK_CHANNEL.name,
    apiUrl: slack.url,
    mentions: {},
    timeoutMs: 5_000,
  };
  const alertMessages = new AlertMessageStore(redis, keys);
  if (put !== undefined) alertMessages.put = put;
  return createSlackBot(bot, slack.http, alertMessages);
}

function send(event: SentEvent, put?: AlertMessageStore['put']) {
  return slackBot(put).send(messageOf(event));
}

const methods = () => slack.requests.map(({ path }) => path.slice(1));

test('headers shown of a message of the app mask its token', () => {
  expect(slackBot().shownHeaders?.('evt_1', 0)).toMatchObject({ authorization: 'Bearer …' });
});

test('an event that is no alert is one message of the app', async () => {
  expect(await send(sampleEvent('run.failed'))).toMatchObject({ kind: 'delivered' });
  expect(slack.requests[0]).toMatchObject({
    path: '/chat.postMessage',
    headers: { authorization: `Bearer ${SLACK_TOKEN}` },
    body: { channel: '#runs', text: 'invoices failed at 60 % after 6 s' },
  });
});

test('an alert is one message in Slack, updated in place, with follow-ups in its thread', async () => {
  await send(sampleAlert('alert.firing'));
  await send(sampleAlert('alert.acknowledged', { alert: { acknowledged: { by: 'Ana' } } }));
  const resolved_at = '2026-01-01T12:12:06.000Z';
  expect(await send(sampleAlert('alert.resolved', { alert: { resolved_at } }))).toMatchObject({
    kind: 'delivered',
  });
  expect(methods()).toEqual([
    'chat.postMessage',
    'chat.update',
    'chat.postMessage',
    'chat.update',
    'chat.postMessage',
  ]);
  const place = { channel: 'C024BE91L', ts: '1503435956.000241' };
  const [, acknowledged, reply, resolved, last] = slack.requests.map(({ body }) => body);
  expect(acknowledged).toMatchObject({
    ...place,
    text: expect.stringContaining('Ana acknowledged'),
  });
  expect(reply).toMatchObject({
    channel: place.channel,
    thread_ts: place.ts,
    reply_broadcast: false,
  });
  expect(resolved).toMatchObject(place);
  expect(JSON.stringify(resolved)).toContain(':white_check_mark:');
  expect(last).toMatchObject({
    thread_ts: place.ts,
    text: expect.stringContaining('Resolved after'),
  });
});

test('an alert that is repeated is shown in the channel again', async () => {
  await send(sampleAlert('alert.firing'));
  await send(sampleAlert('alert.updated', { data: { repeat: true } }));
  expect(slack.requests.at(-1)?.body).toMatchObject({ reply_broadcast: true });
});

test('an alert of a deleted Slack message gets a new message', async () => {
  const place = keys.alertMessage('chat', 'alr_7f3a');
  await redis.set(place, `${SLACK_CHANNEL.id} 1500000000.000001`);
  await send(sampleAlert('alert.updated'));
  expect(slack.refusals.splice(0)).toEqual(['message_not_found: 1500000000.000001']);
  expect(methods()).toEqual(['chat.update', 'chat.postMessage']);
  expect(await redis.get(place)).toBe('C024BE91L 1503435956.000241');
});

test.each(['is_inactive', 'channel_not_found'])(
  'an alert whose message is in a channel that is gone gets a new message: %s',
  async (error) => {
    await redis.set(keys.alertMessage('chat', 'alr_7f3a'), 'C0GONE 1500000000.000001');
    const posted = { ok: true, channel: SLACK_CHANNEL.id, ts: '1503435956.000241' };
    slack.answerBy(({ path }) => ({
      status: 200,
      body: path === '/chat.update' ? { ok: false, error } : posted,
    }));
    expect(await send(sampleAlert('alert.resolved'))).toMatchObject({ kind: 'delivered' });
    expect(methods()).toEqual(['chat.update', 'chat.postMessage']);
    expect(slack.requests[1]?.body).toMatchObject({ channel: SLACK_CHANNEL.name });
    expect(slack.refusals.splice(0)).toEqual(['channel_not_found: C0GONE']);
  },
);

test('a process that dies before it notes the message of an alert posts it twice at most', async () => {
  const killed = async () => {
    throw new Error('killed');
  };
  await expect(send(sampleAlert('alert.firing'), killed)).rejects.toThrow('killed');
  await send(sampleAlert('alert.firing'));
  await send(sampleAlert('alert.updated'));
  expect(methods()).toEqual([
    'chat.postMessage',
    'chat.postMessage',
    'chat.update',
    'chat.postMessage',
  ]);
  const [, second, update, reply] = slack.requests.map(({ body }) => body);
  expect(second).not.toHaveProperty('thread_ts');
  expect([update?.['ts'], reply?.['thread_ts']]).toEqual([
    '1503435956.000242',
    '1503435956.000242',
  ]);
});

test('an alert that Slack takes while Redis is away is delivered, and its next update is a new message', async () => {
  const away = () =>
    Promise.reject(new RunwatchError('away', { code: 'redis_unavailable', retriable: true }));
  expect(await send(sampleAlert('alert.firing'), away)).toMatchObject({ kind: 'delivered' });
  expect(await send(sampleAlert('alert.updated'))).toMatchObject({ kind: 'delivered' });
  await send(sampleAlert('alert.updated'));
  expect(methods()).toEqual([
    'chat.postMessage',
    'chat.postMessage',
    'chat.update',
    'chat.postMessage',
  ]);
  expect(slack.requests[1]?.body).not.toHaveProperty('thread_ts');
  expect(slack.requests[2]?.body).toMatchObject({ ts: '1503435956.000242' });
});

test('the message of an alert is remembered for a bounded time', async () => {
  await send(sampleAlert('alert.firing'));
  expect(await redis.pttl(keys.alertMessage('chat', 'alr_7f3a'))).toBeGreaterThan(0);
});

test.each([
  ['is_archived', 'rejected'],
  ['not_in_channel', 'rejected'],
  ['invalid_blocks', 'rejected'],
  ['token_revoked', 'refused'],
  ['internal_error', 'failed'],
  ['external_channel_migrating', 'failed'],
  ['message_limit_exceeded', 'throttled'],
  ['ratelimited', 'throttled'],
])('"%s" of the Web API of Slack: %s', async (error, kind) => {
  slack.answerBy(() => ({ status: 200, body: { ok: false, error } }));
  const outcome = await send(sampleEvent('run.failed'));
  expect(outcome.kind).toBe(kind);
  expect(outcome.attempt.error?.message).toBe(`Slack answered ${error}`);
});

test('429 of the Web API of Slack pauses for as long as Retry-After says', async () => {
  const body = { ok: false, error: 'ratelimited' };
  slack.answerBy(() => ({ status: 429, headers: { 'retry-after': '12' }, body }));
  expect(await send(sampleEvent('run.failed'))).toMatchObject({
    kind: 'throttled',
    retryAfterMs: 12_000,
  });
});

test('the token of the app is in no stored answer', async () => {
  slack.answerBy(() => ({ status: 500, body: `bad ${SLACK_TOKEN}` }));
  expect(JSON.stringify(await send(sampleEvent('run.failed')))).not.toContain('secret-token');
});
