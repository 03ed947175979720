import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startRedis } from './support/redis.ts';
import { startWebhookLog, type WebhookLog } from './support/webhook-log.ts';

/** Runs with polls all the time; some more end at each step. */
const RUNS = 30;
const ENDING = 20;

const INTERVAL_MS = 1_000;
const FIVE_MINUTES = 300_000;

/** How far ahead the clocks of the two daemons are, step by step, ms. */
const STEPS: readonly [number, number][] = [
  [FIVE_MINUTES, -FIVE_MINUTES],
  [-FIVE_MINUTES, FIVE_MINUTES],
  [0, 0],
  [FIVE_MINUTES, 0],
  [0, -FIVE_MINUTES],
  [-FIVE_MINUTES, -FIVE_MINUTES],
];

/**
 * Two daemons with clocks up to ten minutes apart. The clocks are set back and forth while runs are
 * polled and end. Targets: no event is sent twice, none is false, and no poll lags by more than 5
 * s.
 */
export async function benchSkew({ seconds }: { seconds: number }): Promise<BenchResult> {
  return withContext(async (context) => {
    const { noxus, log, daemons, reading, expected } = await setUp(context);
    for (const [first, second] of STEPS) {
      daemons[0].setClock(first);
      daemons[1].setClock(second);
      const ending = added(noxus, ENDING);
      await daemons[0].register(ending.slice(0, ENDING / 2));
      await daemons[1].register(ending.slice(ENDING / 2));
      await delay((seconds * 1_000) / 2);
      for (const id of ending) noxus.setStatus(id, 'completed');
      expected.push(...ending);
      await delay((seconds * 1_000) / 2);
    }
    const isSkewed = await Promise.all(daemons.map((daemon) => daemon.logged('clock.skewed')));
    if (isSkewed.includes(0)) throw new Error('void: a clock was not wrong');
    const ends = () => new Set(log.of('run.completed').map(({ runId }) => runId));
    await waitFor(() => ends().size >= expected.length, { timeoutMs: 20_000 }).catch(() => null);
    return resultOf({ noxus, log, reading, missing: expected.length - ends().size });
  });
}

async function setUp(context: BenchContext) {
  const redis = await startRedis(context);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const log = await startWebhookLog(context);
  const start = () => startDaemon(context, configOf(noxus, log.url, `unix://${redis.socket}`));
  const daemons: [BenchDaemon, BenchDaemon] = [await start(), await start()];
  const reading = added(noxus, RUNS);
  await daemons[0].register(reading);
  await waitFor(() => reading.every((id) => noxus.requests.run(id).count > 2));
  const expected: string[] = [];
  return { noxus, log, daemons, reading, expected };
}

function added(noxus: Simulator, count: number): string[] {
  return Array.from({ length: count }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
}

function configOf(noxus: Simulator, receiverUrl: string, redisUrl: string) {
  return {
    profileDir: null,
    isClockSet: true,
    config: {
      redis: { url: redisUrl },
      sources: {
        default: sourceAt(noxus),
      },
      polling: { min_interval: '200ms', max_interval: `${INTERVAL_MS}ms`, lists: 'off' },
      watches: { timeout: '4m', stall_after: '3m' },
      endpoints: { all: { type: 'webhook', url: receiverUrl, events: ['*'] } },
    },
  };
}

interface Outcome {
  noxus: Simulator;
  log: WebhookLog;
  reading: string[];
  missing: number;
}

function resultOf({ noxus, log, reading, missing }: Outcome): BenchResult {
  const gaps = reading.flatMap((id) => {
    const { times } = noxus.requests.run(id);
    return times.slice(1).map((time, at) => time - (times[at] ?? time));
  });
  const counted = new Map<string, number>();
  for (const { id } of log.webhooks) counted.set(id, (counted.get(id) ?? 0) + 1);
  const atMost = (most: number) => ({ unit: '', target: { atMost: most } });
  const isFalse = ({ type }: { type: string }) =>
    type !== 'run.completed' && type !== 'run.started';
  return {
    figures: [
      { name: 'webhooks', value: log.webhooks.length, unit: '' },
      { name: 'ends not notified', value: missing, ...atMost(0) },
      { name: 'sent twice', value: log.webhooks.length - counted.size, ...atMost(0) },
      { name: 'false events', value: log.webhooks.filter(isFalse).length, ...atMost(0) },
      { name: 'reads', value: gaps.length, unit: '' },
      {
        name: 'latest read, beyond its interval',
        value: rounded(Math.max(0, Math.max(...gaps) - 1.1 * INTERVAL_MS) / 1_000),
        unit: 's',
        target: { atMost: 5 },
      },
    ],
    details: {},
  };
}
