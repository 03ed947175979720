import { describe, expect, test } from '@jest/globals';
import { memoryFigures, type MemoryFigures, type MemoryUse } from '../../src/core/redis-memory.ts';
import { NEW_STATE } from '../../src/core/delivery/endpoint-state.ts';
import { isoTime } from '../../src/core/event/event.ts';
import type { Overdue } from '../../src/core/source/overdue.ts';
import type { SourceReads } from '../../src/core/source/read-times.ts';
import { CHECKS } from '../../src/core/health-check.ts';
import { checkFigures } from '../../src/http/figures.ts';
import { Health } from '../../src/http/health.ts';
import { NOON, stretchedReads } from '../support/builders.ts';
import { testDaemon, testSource, type GivenDaemon } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';

/** What is stored of a source that answers. */
const ANSWERING = {
  state: null,
  text: '',
  access: null,
  answeredAt: NOON,
  answeredBy: null,
  openSince: null,
};

const endpoints = endpointsOf({ ops: { type: 'webhook', url: 'https://example.com/ops' } });

function healthWith(
  sources: { overdue: () => Overdue | null; reads: () => SourceReads | null }[],
  figures: MemoryFigures | null = null,
  { stores, ...changes }: GivenDaemon = {},
) {
  const throttle = { read: async () => ANSWERING, lastFailure: () => null };
  const agreement = { inconsistency: async () => null };
  return new Health(
    testDaemon({
      connections: { tryWrite: async () => ({ kind: 'ok' }) },
      dataDirectory: { check: () => null },
      poller: {
        sources: sources.map((one) => testSource({ throttle, agreement, ...one })),
        isRunning: () => true,
        discovery: { troubles: async () => [] },
      },
      deliverer: { isRunning: () => true },
      storeGuard: { trouble: () => null },
      storeConditions: { troubles: () => [], disagreement: () => null },
      unconfigured: { find: async () => ({ sources: [], endpoints: [] }) },
      reload: { trouble: () => null },
      endpoints,
      stores: {
        memory: { figures: async () => figures },
        endpointStates: { getMany: async () => [] },
        ...stores,
      },
      hostShortages: { trouble: () => null },
      now: () => NOON,
      ...changes,
    }),
  );
}

test('readiness is degraded while polls are overdue, and names a sufficient rate limit', async () => {
  const limit = { requests: 10, perMs: 1_000 };
  const cause = { is: 'limit' as const };
  const behind = { source: 'eu', polls: 1_200, oldestMs: 45_300, wantedRequests: 30, limit, cause };
  const reads = () => null;
  expect(
    await healthWith([
      { overdue: () => behind, reads },
      { overdue: () => null, reads },
    ]).checks(),
  ).toContainEqual({
    name: 'polls',
    status: 'degraded',
    detail:
      '1,200 runs overdue, oldest 45 s; source eu may be asked 10/s; 30/s would do, or profile frugal',
  });
  const well = await healthWith([]).checks();
  expect(well.map(({ name }) => name)).not.toContain('polls');
  expect(well.every(({ status }) => status === 'ok')).toBe(true);
});

test('readiness is degraded while runs are read less often than max_interval asks for', async () => {
  const reads = stretchedReads({ source: 'eu' });
  const overdue = () => null;
  expect(await healthWith([{ overdue, reads: () => reads }]).checks()).toContainEqual({
    name: 'polls',
    status: 'degraded',
    detail: expect.stringContaining(
      '1,343 of 2,000 runs read less often than max_interval (1 min)',
    ),
  });
  const well = await healthWith([{ overdue, reads: () => ({ ...reads, stretched: 0 }) }]).checks();
  expect(well.map(({ name }) => name)).not.toContain('polls');
});

test('readiness is degraded while an endpoint has asked for a pause of a minute or more', async () => {
  const paused = (throttledUntil: number) => ({
    ...NEW_STATE,
    throttledSince: NOON,
    throttledUntil,
  });
  const checksWith = (throttledUntil: number) => {
    const getMany = async () => [{ receiver: 'ops', version: '1', state: paused(throttledUntil) }];
    return healthWith([], null, { stores: { endpointStates: { getMany } } }).checks();
  };
  expect(await checksWith(NOON + 60_000)).toContainEqual({
    name: 'endpoints',
    status: 'degraded',
    detail: `ops asked for a pause until ${isoTime(NOON + 60_000)}`,
  });
  expect((await checksWith(NOON + 59_000)).map(({ name }) => name)).not.toContain('endpoints');
});

test('every check that readiness knows is a metric, and no other', async () => {
  const limit = { requests: 10, perMs: 1_000 };
  const cause = { is: 'limit' as const };
  const behind = { source: 'eu', polls: 9, oldestMs: 45_300, wantedRequests: 30, limit, cause };
  const full = memoryFigures(
    { used: 95e6, startup: 1e6, max: 100e6, before: null },
    { settled: 40e6, indexes: 10e6 },
    NOON,
  );
  const read = () => Promise.reject(new Error('no store'));
  const unread = { source: 'eu', workflowId: 'wf-1', since: NOON, text: 'the list' };
  const health = healthWith([], full, {
    connections: { tryWrite: async () => ({ kind: 'away', reason: 'it is down' }) },
    dataDirectory: { check: () => ({ name: 'data directory', status: 'failed', detail: 'gone' }) },
    eventLog: { trouble: () => ({ reason: 'ENOSPC', since: NOON }) },
    poller: {
      sources: [
        testSource({
          name: 'eu',
          throttle: { read },
          overdue: () => behind,
          reads: () => null,
        }),
      ],
      isRunning: () => false,
      discovery: { troubles: async () => [unread] },
    },
    deliverer: { isRunning: () => false },
    hostShortages: { trouble: () => '256 of 256 are in use' },
    storeGuard: { trouble: () => 'Redis was emptied' },
    reload: { trouble: () => 'the configuration is wrong' },
    stores: {
      memory: { figures: async () => full },
      endpointStates: {
        getMany: async () => [
          { receiver: 'ops', version: '1', state: { ...NEW_STATE, breaker: 'open' } },
        ],
      },
    },
  });
  const names = (await health.checks()).flatMap(({ name, status }) =>
    status === 'ok' ? [] : [name],
  );
  expect(names.toSorted()).toEqual(CHECKS.toSorted());
  expect(await checkFigures(health)).toEqual(CHECKS.map((name) => ({ name, isOk: false })));
  const well = await checkFigures(healthWith([]));
  expect(well).toEqual(CHECKS.map((name) => ({ name, isOk: true })));
});

describe('memory', () => {
  const kept = { settled: 40e6, indexes: 10e6 };
  const use = { used: 60e6, startup: 1e6, max: 100e6, before: null };
  const checked = async (changes: Partial<MemoryUse>) =>
    (await healthWith([], memoryFigures({ ...use, ...changes }, kept, NOON)).checks()).find(
      ({ name }) => name === 'memory',
    );

  test('readiness says what the memory of Redis is used for', async () => {
    expect(await checked({ max: 0 })).toEqual({
      name: 'memory',
      status: 'ok',
      detail: '60 MB are used: live 9 MB, settled 40 MB, indexes 10 MB',
    });
  });

  test('readiness is degraded from 80 % of maxmemory on, and says how long it lasts', async () => {
    const before = { used: 75e6, at: NOON - 43_200_000 };
    expect(await checked({ used: 80e6, before })).toEqual({
      name: 'memory',
      status: 'degraded',
      detail:
        '80 MB of 100 MB are used: live 29 MB, settled 40 MB, indexes 10 MB; at the rate of the ' +
        'last day 2.0 days are left; raise maxmemory (redis.maxmemory of the own Redis), or lower ' +
        'watches.retention',
    });
    expect(await checked({ used: 79e6, before })).toMatchObject({ status: 'ok' });
  });

  test('readiness names no days where memory does not grow', async () => {
    const before = { used: 60e6, at: NOON - 86_400_000 };
    expect((await checked({ before }))?.detail).not.toContain('days');
  });
});
