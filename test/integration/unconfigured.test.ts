import { afterAll, describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import {
  describeRemnants,
  observeUnconfigured,
  Unconfigured,
} from '../../src/watches/unconfigured.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';
import { collectLog } from '../support/collect-log.ts';
import { testProcess } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { watches, events, deliveries, sourceNames, close } = stores;
let time = NOON;

afterAll(close);

const config = configSchema.parse({
  data_dir: '/d',
  sources: { prod: { api_key: 'k' } },
  endpoints: { ops: { type: 'webhook', url: 'https://a.example' } },
  polling: { unreachable_after: '2m', gone_after: '1m' },
});

const log = collectLog();
const process = testProcess({
  config,
  stores,
  endpoints: { wants: () => true },
  log: log as unknown as Logger,
  newMark: () => 'mark',
  now: () => time,
  random: () => 0,
});

async function register(runId: string, source: string, endpoint = 'ops') {
  const watch = newWatch({
    source,
    runId,
    state: 'active',
    subscriptions: [{ kind: 'endpoint', endpoint }],
    timeoutAt: NOON + 600_000,
  });
  const told = [{ id: `evt_${runId}`, type: 'run.started' as const }];
  const due = planDeliveries(watch, told, watch.subscriptions, { wants: () => true, now: NOON });
  await watches.commit({ before: null, after: watch, events: [], deliveries: due });
}

const typesOf = async (runId: string) =>
  (await events.list({ runs: [{ source: 'old', runId }] }, { limit: 10 })).items.map(
    ({ event }) => event.type,
  );

describe('source that is not configured any more', () => {
  const observe = (source: string) => observeUnconfigured(process, source);

  test('watches of a removed source become unreachable once, and expire', async () => {
    await register('run-1', 'old');
    await observe('old');
    time = NOON + 100_000;
    await observe('old');
    expect(await typesOf('run-1')).toEqual([]);
    time = NOON + 130_000;
    await observe('old');
    await observe('old');
    expect(await typesOf('run-1')).toEqual(['watch.unreachable']);
    const key = { source: 'old', runId: 'run-1' };
    expect((await watches.get(key))?.watch.trouble?.message).toBe(
      'no source named old is configured any more',
    );
    time = NOON + 600_001;
    await observe('old');
    expect(await typesOf('run-1')).toEqual(['watch.unreachable', 'watch.expired']);
    expect((await watches.get(key))?.watch.state).toBe('expired');
  });

  test('a reopened watch of a removed source goes back to its end, of which held subscriptions hear', async () => {
    const key = { source: 'old', runId: 'run-5' };
    const watch = newWatch({
      ...key,
      state: 'active',
      isReopened: true,
      run: snapshot({ id: key.runId, status: 'completed' }),
      notice: { eventId: 'evt_end', type: 'run.completed' },
      subscriptions: ['told', 'ops'].map((endpoint) => ({ kind: 'endpoint', endpoint })),
      held: ['ops'],
      timeoutAt: NOON + 600_000,
    });
    await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
    time = NOON + 600_001;
    await observe('old');
    expect((await watches.get(key))?.watch).toMatchObject({ state: 'finished', held: [] });
    const { items } = await deliveries.list({ runs: [key] }, { limit: 10 });
    expect(items).toMatchObject([{ eventId: 'evt_end', endpoint: 'ops' }]);
  });
});

describe('records of removed sources and endpoints', () => {
  test('records of removed sources and endpoints are counted, and warned of once', async () => {
    await register('run-2', 'older', 'chat');
    await register('run-3', 'prod', 'chat');
    await register('run-4', 'prod');
    await sourceNames.note(['older', 'oldest'], NOON);
    const unconfigured = new Unconfigured(process);
    const remnants = {
      sources: [{ name: 'older', count: 1 }],
      endpoints: [{ name: 'chat', count: 2 }],
    };
    expect(await unconfigured.find()).toEqual(remnants);
    unconfigured.start();
    await waitFor(() => log.lines.length > 0);
    await unconfigured.stop();
    expect(log.lines).toMatchObject([
      {
        level: 'warn',
        ...remnants,
        msg: expect.stringContaining('1 active watch is not polled'),
      },
    ]);
    expect((await sourceNames.all()).get('prod')).toBe(time);
  });

  test('the warning of a removed source or endpoint names the remedy', () => {
    expect(
      describeRemnants({ sources: [], endpoints: [{ name: 'chat', count: 2 }] }).join(),
    ).toContain('runwatch redeliver --endpoint chat --to');
  });
});
