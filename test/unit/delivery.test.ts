import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import {
  planDeliveries,
  wantedNow,
  type Attempt,
  type AttemptOutcome,
} from '../../src/core/delivery/delivery.ts';
import { afterAttempt } from '../../src/core/delivery/retry.ts';
import { EVENT_TYPES, DEFAULT_EVENTS } from '../../src/core/event/event.ts';
import { wantsEvent } from '../../src/core/event/patterns.ts';
import type { Subscription } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, webhookTo } from '../support/builders.ts';
import {
  askedReceiver,
  countedReceiver,
  isWebhook,
  originOf,
  PER_WATCH,
  shownReceiver,
  urlOf,
  webhookReceiver,
} from '../../src/core/delivery/receiver.ts';

const watch = newWatch();
const events = EVENT_TYPES.map((type, at) => ({ id: `evt_${at}`, type }));
const filters: Record<string, string[]> = { all: ['*'], runs: ['run.*'], failed: ['run.failed'] };

function plan(subscriptions: Subscription[]) {
  return planDeliveries(watch, events, subscriptions, {
    wants: (name, type) => wantsEvent(filters[name], type),
    now: NOON,
  });
}

describe('the fan-out of events', () => {
  test('an endpoint gets the events it asks for, by exact type, family or everything', () => {
    const typesFor = (endpoint: string) =>
      plan([{ kind: 'endpoint', endpoint }]).map(({ eventType }) => eventType);
    expect(typesFor('all')).toEqual(EVENT_TYPES);
    expect(typesFor('runs')).toEqual(EVENT_TYPES.filter((type) => type.startsWith('run.')));
    expect(typesFor('failed')).toEqual(['run.failed']);
    expect(typesFor('says-nothing')).toEqual(DEFAULT_EVENTS);
  });

  test('each pair of event and subscription gets one delivery with its own id', () => {
    const deliveries = plan([
      { kind: 'endpoint', endpoint: 'all' },
      webhookTo('https://a.example/', ['*']),
    ]);
    expect(deliveries).toHaveLength(events.length * 2);
    expect(new Set(deliveries.map(({ id }) => id)).size).toBe(deliveries.length);
    expect(deliveries).toEqual(
      plan([{ kind: 'endpoint', endpoint: 'all' }, webhookTo('https://a.example/', ['*'])]),
    );
  });
});

describe('an attempt', () => {
  const attempt: Attempt = { at: NOON, status: 500, error: null, durationMs: 5, response: null };
  const [fresh] = plan([{ kind: 'endpoint', endpoint: 'failed' }]);
  const failed: AttemptOutcome = { kind: 'failed', attempt };
  const schedule = [5_000, 60_000];
  const time = { now: NOON, random: () => 0, covered: 1 };

  test('an attempt that succeeds delivers', () => {
    expect(afterAttempt(fresh!, { kind: 'delivered', attempt }, schedule, time)).toMatchObject({
      state: 'delivered',
      attemptCount: 1,
      nextAttemptAt: null,
      deliveredAt: NOON,
    });
  });

  test('a failed attempt is repeated by the schedule until the schedule ends', () => {
    const first = afterAttempt(fresh!, failed, schedule, time);
    const second = afterAttempt(first, failed, schedule, time);
    const third = afterAttempt(second, failed, schedule, time);
    expect([first, second, third].map(({ state }) => state)).toEqual([
      'pending',
      'pending',
      'dead',
    ]);
    expect(first.nextAttemptAt).toBe(NOON + 5_000);
    expect(second.nextAttemptAt).toBe(NOON + 60_000);
    expect(third).toMatchObject({ attemptCount: 3, nextAttemptAt: null, deliveredAt: null });
  });

  test('a repeated attempt never comes earlier than scheduled', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (value) => {
        const { nextAttemptAt } = afterAttempt(fresh!, failed, schedule, {
          ...time,
          random: () => value,
        });
        expect(nextAttemptAt).toBeGreaterThanOrEqual(NOON + 5_000);
      }),
    );
  });

  test.each([
    [1_000, 5_000],
    [90_000, 90_000],
    [86_400_000, 3_600_000],
  ])(
    'a failed attempt with a Retry-After of %i ms is repeated after %i ms',
    (retryAfterMs, waitMs) => {
      const after = afterAttempt(fresh!, { ...failed, retryAfterMs }, schedule, time);
      expect(after).toMatchObject({ attemptCount: 1, nextAttemptAt: NOON + waitMs });
    },
  );

  test('a throttled attempt counts but costs no step, and the next waits as long as asked', () => {
    const throttled: AttemptOutcome = { kind: 'throttled', attempt, retryAfterMs: 90_000 };
    const after = afterAttempt(fresh!, throttled, schedule, { ...time, random: () => 0.5 });
    expect(after).toMatchObject({ state: 'pending', attemptCount: 1, step: 0, last: attempt });
    expect(after.nextAttemptAt).toBeGreaterThanOrEqual(NOON + 90_000);
  });

  test('Retry-After of milliseconds or a Unix time delays the next attempt by an hour at most', () => {
    for (const seconds of [90_000, NOON / 1_000]) {
      const throttled = { kind: 'throttled', attempt, retryAfterMs: seconds * 1_000 } as const;
      const after = afterAttempt(fresh!, throttled, schedule, { ...time, random: () => 0.9 });
      expect(after.nextAttemptAt).toBe(NOON + 3_600_000);
    }
  });

  test('a redelivered delivery begins its schedule anew', () => {
    const dead = afterAttempt(fresh!, { kind: 'refused', attempt }, schedule, time);
    const again = wantedNow(dead, NOON);
    expect(again).toMatchObject({ state: 'pending', requested: true, attemptCount: 1, step: 0 });
    expect(afterAttempt(again, failed, schedule, time)).toMatchObject({
      attemptCount: 2,
      nextAttemptAt: NOON + 5_000,
    });
  });

  test('a refused attempt ends the delivery', () => {
    expect(afterAttempt(fresh!, { kind: 'refused', attempt }, schedule, time).state).toBe('dead');
  });
});

const URL_OF_SLACK = 'https://hooks.slack.com/services/T0/B0/secret?x=1';

describe('the receiver of a webhook of a watch', () => {
  const receiver = webhookReceiver(URL_OF_SLACK, 'team');

  test('a per-watch receiver is one per source and whole URL, and holds nothing of path and query', () => {
    expect(receiver).toMatch(/^https:\/\/hooks\.slack\.com\/…#[0-9a-f]{32}@team$/);
    expect(webhookReceiver(`${URL_OF_SLACK}2`, 'team')).not.toBe(receiver);
    const respelt = 'HTTPS://Hooks.Slack.com:443/services/T0/B0/secret?x=1';
    expect(webhookReceiver(respelt, 'team')).toBe(receiver);
    const others = webhookReceiver(respelt, 'other');
    expect([others === receiver, urlOf(others) === urlOf(receiver)]).toEqual([false, true]);
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
