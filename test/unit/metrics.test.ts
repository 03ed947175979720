import { describe, expect, test } from '@jest/globals';
import type { EndpointFigures, StoredCounts } from '../../src/telemetry/gauges.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';

const COUNTS: StoredCounts = {
  watches: { active: 3 },
  runs: [{ source: 'default', status: 'running', count: 3 }],
  deliveries: { pending: 5 },
  planned: 5_754,
  alerts: [{ rule: 'failed-runs', state: 'firing', count: 2 }],
  tables: 2,
  memory: null,
};

/** The samples that come from the store. */
function storedIn(text: string): string[] {
  return text
    .split('\n')
    .filter((line) =>
      /^runwatch_(store_(?!data_lost)|watches|runs|deliveries|alerts|learned)/.test(line),
    );
}

test('counters that alerts watch begin at 0, so that a first event is an increase', async () => {
  const text = await createMetrics('1.2.3', () => Promise.resolve(COUNTS)).render();
  const begin = text
    .split('\n')
    .filter((line) => /^runwatch_(store_data_lost|heartbeats)/.test(line));
  expect(begin).toEqual([
    'runwatch_store_data_lost_total{reason="emptied"} 0',
    'runwatch_store_data_lost_total{reason="replaced"} 0',
    'runwatch_store_data_lost_total{reason="rolled_back"} 0',
    'runwatch_store_data_lost_total{reason="damaged"} 0',
    'runwatch_heartbeats_total{result="sent"} 0',
    'runwatch_heartbeats_total{result="failed"} 0',
    'runwatch_heartbeats_total{result="not_ready"} 0',
  ]);
});

describe('metrics of what is stored', () => {
  test('metrics from the store are absent while it hangs or fails, and come back after it', async () => {
    let count = () => Promise.resolve(COUNTS);
    const metrics = createMetrics('1.2.3', () => count());
    const all = [
      'runwatch_store_up 1',
      'runwatch_watches{state="active"} 3',
      'runwatch_runs{source="default",status="running"} 3',
      'runwatch_deliveries{state="pending"} 5',
      'runwatch_deliveries_planned 5754',
      'runwatch_learned_tables 2',
      'runwatch_alerts{rule="failed-runs",state="firing"} 2',
    ];
    expect(storedIn(await metrics.render())).toEqual(all);
    count = () => new Promise(() => undefined);
    expect(storedIn(await metrics.render())).toEqual(['runwatch_store_up 0']);
    count = () => Promise.reject(new Error('away'));
    expect(storedIn(await metrics.render())).toEqual(['runwatch_store_up 0']);
    count = () => Promise.resolve(COUNTS);
    expect(storedIn(await metrics.render())).toEqual(all);
  });

  test('metrics of memory are absent as far as they are unknown', async () => {
    const memory = { used: 9, live: 1, settled: 5, indexes: 2, isScarce: false };
    const all = { ...COUNTS, memory: { ...memory, max: 20, daysLeft: 2.5 } };
    let counts: StoredCounts = all;
    const metrics = createMetrics('1.2.3', () => Promise.resolve(counts));
    const samples = async () =>
      storedIn(await metrics.render()).filter((one) => /memory/.test(one));
    const parts = [
      'runwatch_store_memory_bytes{part="live"} 1',
      'runwatch_store_memory_bytes{part="settled"} 5',
      'runwatch_store_memory_bytes{part="indexes"} 2',
    ];
    const limit = 'runwatch_store_memory_limit_bytes 20';
    expect(await samples()).toEqual([...parts, limit, 'runwatch_store_memory_days_left 2.5']);
    counts = { ...all, memory: { ...memory, max: null, daysLeft: null } };
    expect(await samples()).toEqual(parts);
    counts = COUNTS;
    expect(await samples()).toEqual([]);
  });

  test('metrics of endpoints are absent while the store hangs, and where the oldest delivery is unknown', async () => {
    const metrics = createMetrics('1.2.3', () => Promise.resolve(COUNTS));
    let figures: () => Promise<EndpointFigures[]> = async () => [
      { name: 'ops', isUp: false, backlog: 3, oldestMs: 1_500 },
      { name: 'per-watch', isUp: null, backlog: 9_000, oldestMs: null },
    ];
    metrics.ofEndpoints(() => figures());
    const samples = async () =>
      (await metrics.render()).split('\n').filter((line) => line.startsWith('runwatch_endpoint_'));
    expect(await samples()).toEqual([
      'runwatch_endpoint_up{endpoint="ops"} 0',
      'runwatch_endpoint_backlog{endpoint="ops"} 3',
      'runwatch_endpoint_backlog{endpoint="per-watch"} 9000',
      'runwatch_endpoint_oldest_pending_seconds{endpoint="ops"} 1.5',
    ]);
    figures = () => new Promise(() => undefined);
    expect(await samples()).toEqual([]);
  });

  test('metrics of a state that no longer occurs are absent', async () => {
    let counts = COUNTS;
    const metrics = createMetrics('1.2.3', () => Promise.resolve(counts));
    await metrics.render();
    counts = { ...COUNTS, deliveries: {} };
    expect(await metrics.render()).not.toContain('state="pending"');
  });
});

test('counters, and nothing else, are named as counters are', async () => {
  const metrics = createMetrics('1.2.3', () => Promise.resolve(COUNTS));
  const all = metrics.registry.getMetricsAsArray() as {
    name: string;
    constructor: { name: string };
  }[];
  expect(all.length).toBeGreaterThan(30);
  for (const { name, constructor } of all) {
    expect([name, name.endsWith('_total')]).toEqual([name, constructor.name === 'Counter']);
  }
});
