import { expect, test } from '@jest/globals';
import { createHealth } from '../../src/daemon/health.ts';

type Dependencies = Parameters<typeof createHealth>[0];

function healthWith(overdue: ReturnType<Dependencies['poller']['overdue']>) {
  const given = {
    redis: { tryWrite: async () => ({ kind: 'ok' as const }) },
    poller: { sources: [], isRunning: () => true, overdue: () => overdue },
    deliverer: { isRunning: () => true },
    discovery: { troubles: async () => [] },
    storeGuard: { trouble: () => null },
    unconfigured: { find: async () => ({ sources: [], endpoints: [] }) },
    endpoints: { names: [] },
    endpointStates: { getMany: async () => [], unwell: async () => [] },
  };
  return createHealth(given as unknown as Dependencies);
}

test('readiness is degraded while polls are overdue, and names a sufficient rate limit', async () => {
  const limit = { requests: 10, perMs: 1_000 };
  const behind = { source: 'eu', polls: 1_200, oldestMs: 45_300, wantedRequests: 30, limit };
  expect(await healthWith([behind]).checks()).toContainEqual({
    name: 'polls',
    status: 'degraded',
    detail:
      '1200 of eu are overdue, the oldest for 45 s; a rate_limit of 30 requests in 1000 ms would do',
  });
  const well = await healthWith([]).checks();
  expect(well.map(({ name }) => name)).not.toContain('polls');
  expect(well.every(({ status }) => status === 'ok')).toBe(true);
});
