import { describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { DEFAULT_RETRY_MS } from '../../src/core/delivery/retry.ts';
import { Endpoints } from '../../src/deliver/endpoints.ts';

const HOOK = { type: 'webhook', url: 'https://example.com/' };

const endpointsOf = (endpoints: Record<string, object>, delivery = {}) =>
  new Endpoints(configSchema.parse({ data_dir: '/tmp', endpoints, delivery }));

const watch = (workflow: string) => ({
  source: 'default',
  run: { workflow_id: workflow },
  metadata: {},
});

describe('default endpoints of a watch', () => {
  test.each([
    ['those that are marked', { a: HOOK, b: { ...HOOK, default: true } }, ['b']],
    ['all where none is marked', { a: HOOK, b: { type: 'log' } }, ['a', 'b']],
    ['the log where there are none', {}, ['log']],
  ])('default endpoints: %s', (_what, endpoints, told) => {
    expect(endpointsOf(endpoints).defaults).toEqual(told);
  });
});

test('an endpoint gets alerts of rules that name it, else those that it names itself', () => {
  const endpoints = new Endpoints(
    configSchema.parse({
      data_dir: '/tmp',
      endpoints: {
        chat: HOOK,
        pager: { ...HOOK, events: ['alert.*'] },
        ends: { ...HOOK, events: ['alert.resolved'] },
        audit: { ...HOOK, events: ['alert.*'] },
        hooks: { ...HOOK, events: ['*'] },
      },
      rules: [
        {
          name: 'failed-runs',
          events: ['run.failed'],
          notify: ['chat', 'ends'],
          escalate: [{ after: '30m', notify: ['pager'] }],
        },
      ],
    }),
  );
  expect(endpoints.wantingAlertEvent('alert.firing', ['chat', 'ends'])).toEqual(['chat', 'audit']);
  expect(endpoints.wantingAlertEvent('alert.resolved', ['chat', 'ends'])).toEqual([
    'chat',
    'ends',
    'audit',
  ]);
  expect(endpoints.wantingAlertEvent('alert.firing', ['pager'])).toEqual(['pager', 'audit']);
});

test('endpoints go by metadata where one of them has a condition on it, also after a reload', () => {
  const plain = { ops: { ...HOOK, when: { workflow_id: 'w-1' } } };
  const choosy = { ...plain, team: { ...HOOK, when: { metadata: { team: 'ml' } } } };
  const endpoints = endpointsOf(plain);
  expect(endpoints.matchMetadata).toBe(false);
  endpoints.replace(configSchema.parse({ data_dir: '/tmp', endpoints: choosy }));
  expect(endpoints.matchMetadata).toBe(true);
});

describe('an endpoint', () => {
  test('an endpoint gets events that its types and its conditions both admit', () => {
    const { wants } = endpointsOf({
      ops: { ...HOOK, events: ['run.failed'], when: { workflow_id: 'w-1' } },
    });
    expect(wants('ops', 'run.failed', watch('w-1'))).toBe(true);
    expect(wants('ops', 'run.failed', watch('w-2'))).toBe(false);
    expect(wants('ops', 'run.completed', watch('w-1'))).toBe(false);
  });

  test('an endpoint has its own limits, else those of delivery, as per-watch webhooks do', () => {
    const { limitsOf } = endpointsOf(
      { own: { ...HOOK, concurrency: 2, rate: 5, timeout: '3s' }, plain: HOOK },
      { per_endpoint: 7 },
    );
    const shared = { most: 7, rate: null, deadlineMs: 15_000 };
    expect(limitsOf('own')).toEqual({ most: 2, rate: 5, deadlineMs: 3_000 });
    expect(limitsOf('plain')).toEqual(shared);
    expect(limitsOf('https://hooks.example.com')).toEqual(shared);
  });

  test('an endpoint without a schedule retries over 3.2 days, as per-watch webhooks do', () => {
    const { ops } = endpointsOf({ ops: HOOK }).all;
    expect(ops?.type === 'webhook' && ops.retry).toEqual(DEFAULT_RETRY_MS);
    const hours = DEFAULT_RETRY_MS.reduce((sum, ms) => sum + ms, 0) / 3_600_000;
    expect(DEFAULT_RETRY_MS).toHaveLength(10);
    expect(hours / 24).toBeCloseTo(3.15, 1);
  });
});
