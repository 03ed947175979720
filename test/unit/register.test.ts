import { describe, expect, test } from '@jest/globals';
import { register, type Registration } from '../../src/core/watch/register.ts';
import type { Subscription } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, snapshot, webhookTo } from '../support/builders.ts';

const context = {
  now: NOON + 1_000,
  defaults: { timeoutMs: 60_000, minIntervalMs: 1_000, profile: 'normal' as const },
};
const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const hook = webhookTo('https://a.example/', ['*']);

function request(changes: Partial<Registration> = {}): Registration {
  return { source: 'default', runId: 'run-1', subscriptions: [ops], ...changes };
}

describe('registering a run', () => {
  test('a registration begins a watch that is due at once and expires after the default time', () => {
    const { watch, kind, added } = register(null, request(), context);
    expect(kind).toBe('created');
    expect(added).toEqual([ops]);
    expect(watch).toMatchObject({
      state: 'active',
      run: null,
      sequence: 0,
      nextPollAt: context.now,
      timeoutAt: context.now + 60_000,
    });
  });

  test('a registration merges subscriptions by endpoint name or URL, and replaces metadata and timeout', () => {
    const before = newWatch({ metadata: { a: '1' } }, [ops, hook]);
    const narrowed: Subscription = { ...hook, events: ['run.failed'] };
    const other: Subscription = { kind: 'endpoint', endpoint: 'audit' };
    const { watch, kind, added } = register(
      before,
      request({ subscriptions: [narrowed, other], metadata: { b: '2' }, timeoutMs: 5_000 }),
      context,
    );
    expect(kind).toBe('merged');
    expect(added).toEqual([other]);
    expect(watch.subscriptions).toEqual([ops, narrowed, other]);
    expect(watch).toMatchObject({ metadata: { b: '2' }, timeoutAt: context.now + 5_000 });
  });

  test('a registration keeps what it does not name', () => {
    const before = newWatch({ metadata: { a: '1' }, profile: 'urgent', maxDelayMs: 9_000 });
    const { watch } = register(before, request(), context);
    expect(watch).toMatchObject({
      metadata: { a: '1' },
      profile: 'urgent',
      maxDelayMs: 9_000,
      timeoutAt: before.timeoutAt,
    });
  });

  test('a registration says within what time its watch accepts the next poll', () => {
    const before = newWatch({ timeoutAt: context.now + 60_000 });
    const within = (changes: Partial<Registration>) =>
      register(before, request(changes), context).dueWithinMs;
    expect(within({})).toBe(60_000);
    expect(within({ timeoutMs: 29_999 })).toBe(29_999);
    expect(within({ maxDelayMs: 2_000 })).toBe(2_000);
    expect(register(null, request(), context).dueWithinMs).toBe(0);
    const ended = newWatch({ state: 'finished', endedAt: NOON });
    expect(register(ended, request({ timeoutMs: 1 }), context).dueWithinMs).toBe(Infinity);
  });

  test.each(['cancelled', 'expired'] as const)(
    'a registration begins a %s watch anew, with numbers that go on',
    (state) => {
      const past = { sequence: 4, pastEnds: ['run.failed' as const] };
      const before = newWatch({ state, run: snapshot(), ...past, endedAt: NOON }, [hook]);
      const { watch, kind } = register(before, request(), context);
      expect(kind).toBe('renewed');
      expect(watch).toMatchObject({ state: 'active', run: null, ...past, endedAt: null });
      expect(watch.subscriptions).toEqual([ops]);
    },
  );

  test('a watch keeps removed webhooks as former ones until they are named again', () => {
    const other = webhookTo('https://b.example/');
    const before = newWatch({ state: 'cancelled', formerWebhooks: [other] }, [hook]);
    const { watch } = register(before, request(), context);
    expect(watch).toMatchObject({ subscriptions: [ops], formerWebhooks: [other, hook] });
    const again = register(watch, request({ subscriptions: [other] }), context);
    expect(again.watch).toMatchObject({ subscriptions: [ops, other], formerWebhooks: [hook] });
  });

  test('a registration keeps a finished watch and adds the subscription', () => {
    const before = newWatch({ state: 'finished', sequence: 2, endedAt: NOON }, [hook]);
    const { watch, kind, added } = register(before, request(), context);
    expect(kind).toBe('merged');
    expect(watch).toMatchObject({ state: 'finished', endedAt: NOON });
    expect(added).toEqual([ops]);
  });

  test('a registration begins the watch of a gone run anew, with all its subscriptions', () => {
    const gone = { code: 'not_found' as const, message: 'gone', since: NOON };
    const metadata = { team: 'ml' };
    const before = newWatch({ state: 'gone', gone, metadata, sequence: 2, endedAt: NOON }, [hook]);
    const { watch, kind } = register(before, request(), context);
    expect(kind).toBe('renewed');
    expect(watch).toMatchObject({ state: 'active', gone: null, metadata, sequence: 2 });
    expect(watch.subscriptions).toEqual([hook, ops]);
  });
});
