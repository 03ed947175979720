import { describe, expect, test } from '@jest/globals';
import {
  askedReceiver,
  countedReceiver,
  isWebhook,
  originOf,
  PER_WATCH,
  shownReceiver,
  webhookReceiver,
} from '../../src/core/delivery/receiver.ts';

const URL_OF_SLACK = 'https://hooks.slack.com/services/T0/B0/secret?x=1';

describe('the receiver of a webhook of a watch', () => {
  const receiver = webhookReceiver(URL_OF_SLACK);

  test('a per-watch receiver is one per whole URL, and holds nothing of path and query', () => {
    expect(receiver).toMatch(/^https:\/\/hooks\.slack\.com\/…#[0-9a-f]{32}$/);
    expect(webhookReceiver(`${URL_OF_SLACK}2`)).not.toBe(receiver);
    expect(webhookReceiver('HTTPS://Hooks.Slack.com:443/services/T0/B0/secret?x=1')).toBe(receiver);
  });

  test('a per-watch receiver is shown by six digits, and found by that form or the URL', () => {
    const shown = shownReceiver(receiver);
    expect(shown).toMatch(/^https:\/\/hooks\.slack\.com\/…#[0-9a-f]{6}$/);
    expect([URL_OF_SLACK, shown, 'ops'].map(askedReceiver)).toEqual([shown, shown, 'ops']);
  });

  test('all per-watch receivers are counted together', () => {
    expect([receiver, 'ops'].map(countedReceiver)).toEqual([PER_WATCH, 'ops']);
    expect([receiver, 'ops'].map(isWebhook)).toEqual([true, false]);
    expect([receiver, 'ops'].map(originOf)).toEqual(['https://hooks.slack.com', null]);
  });
});
