import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { createSlackWebhook } from '../../src/deliver/channels/slack.ts';
import { messageOf } from '../support/messages.ts';
import { sampleEvent } from '../support/sample-events.ts';
import { startService, type Service } from '../support/services/service.ts';
import { SLACK_PATH, SLACK_WEBHOOK } from '../support/services/slack.ts';

let slack: Service;

beforeAll(async () => {
  slack = await startService(SLACK_WEBHOOK);
});

beforeEach(() => {
  slack.reset();
});

afterEach(() => {
  expect(slack.refusals).toEqual([]);
});

afterAll(() => slack.close());

function send() {
  const webhook = { url: slack.url + SLACK_PATH, mentions: {}, timeoutMs: 5_000 };
  return createSlackWebhook(webhook, slack.http).send(messageOf(sampleEvent('run.failed')));
}

test('an incoming webhook of Slack gets one message, and "ok" delivers it', async () => {
  expect(await send()).toMatchObject({
    kind: 'delivered',
    attempt: { status: 200, response: 'ok' },
  });
  const [request] = slack.requests;
  expect(request?.path).toBe(SLACK_PATH);
  expect(request?.headers['content-type']).toBe('application/json');
  expect(request?.body).toMatchObject({
    text: 'invoices failed at 60 % after 6 s',
    blocks: expect.any(Array),
  });
});

test.each([
  [400, 'invalid_payload', 'rejected'],
  [400, 'user_not_found', 'rejected'],
  [403, 'action_prohibited', 'rejected'],
  [403, 'invalid_token', 'rejected'],
  [404, 'channel_not_found', 'rejected'],
  [404, 'no_service', 'refused'],
  [404, 'no_team', 'refused'],
  [410, 'channel_is_archived', 'refused'],
])('%i %s of Slack is final: %s', async (status, reason, kind) => {
  slack.answerBy(() => ({ status, body: reason }));
  const outcome = await send();
  expect(outcome.kind).toBe(kind);
  expect(outcome.attempt.error?.message).toContain(`${status} ${reason}`);
});

test.each([
  [500, 'rollup_error'],
  [502, '<html>Bad gateway</html>'],
  [403, '<html>of a proxy on the way</html>'],
])('%i %s may pass, so that the message is sent again', async (status, body) => {
  slack.answerBy(() => ({ status, body }));
  expect(await send()).toMatchObject({ kind: 'failed', attempt: { status } });
});

test('429 of Slack that names no time pauses the receiver for half a minute', async () => {
  slack.answerBy(() => ({ status: 429, body: 'rate_limited' }));
  expect(await send()).toMatchObject({ kind: 'throttled', retryAfterMs: 30_000 });
});

test('429 of Slack pauses the receiver for as long as Retry-After says', async () => {
  slack.answerBy(() => ({ status: 429, headers: { 'retry-after': '30' }, body: 'rate_limited' }));
  expect(await send()).toMatchObject({ kind: 'throttled', retryAfterMs: 30_000 });
});

test('the path of a Slack webhook is in no stored answer', async () => {
  slack.answerBy(() => ({ status: 500, body: `cannot post to ${SLACK_PATH}` }));
  const outcome = await send();
  expect(JSON.stringify(outcome)).not.toContain('XXXXXXXX');
});
