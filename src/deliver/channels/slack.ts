import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import { outcomeByStatus, type HttpDeps, type HttpResult } from '../http-attempt.ts';
import type { Channel } from './channel.ts';
import { createJsonChannel, failedAs, type SecretWebhook } from './json-channel.ts';
import { slackMessage } from './slack-message.ts';

/**
 * Sends messages to an incoming webhook of Slack, and to services that take the same.
 * Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
 */
export function createSlackWebhook(webhook: SecretWebhook, deps: HttpDeps): Channel {
  return createJsonChannel(webhook, { render: slackMessage, judge: webhookOutcome }, deps);
}

/**
 * Why Slack takes no message of a webhook, by the code that is the body of its answer.
 * Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
 */
const REFUSALS: Readonly<Record<string, string>> = {
  action_prohibited: 'an administrator of the workspace forbids it',
  channel_is_archived: 'the channel is archived',
  channel_not_found: 'the channel of the webhook does not exist any more',
  invalid_payload: 'Slack does not understand the message',
  invalid_token: 'the URL of the webhook is wrong or was revoked',
  no_active_hooks: 'the webhook is disabled',
  no_service: 'the webhook was removed or disabled',
  no_service_id: 'the URL of the webhook is incomplete',
  no_team: 'the workspace does not exist',
  posting_to_general_channel_denied: 'the webhook may not post to #general',
  team_disabled: 'the workspace is disabled',
};

/** The webhook itself is no more: no later message will do better. */
const GONE: ReadonlySet<string> = new Set([
  'channel_is_archived',
  'no_active_hooks',
  'no_service',
  'no_team',
  'team_disabled',
]);

/** Slack names the reason in one word; a proxy on the way does not, and may pass. */
function webhookOutcome(result: HttpResult, now: number): AttemptOutcome {
  const { answer } = result;
  const reason = answer?.head.toString('latin1').trim() ?? '';
  const isFinal = answer !== null && answer.status >= 400 && answer.status <= 499;
  if (!isFinal || answer.status === 429 || !/^[a-z][a-z_]{2,60}$/.test(reason)) {
    return outcomeByStatus(result, now);
  }
  const why = REFUSALS[reason] ?? 'it does not take the message';
  const isGone = GONE.has(reason) || answer.status === 410;
  const message = `Slack answered ${answer.status} ${reason}: ${why}`;
  return failedAs(isGone ? 'refused' : 'rejected', result, message);
}
