import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import { withContext } from '../support/context.ts';
import { sourceAt, startDaemon } from '../support/daemon.ts';
import type { Figure } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';

const RUNS = 20;
const RATES = [10, 500];
const LASTS_MS = 120_000;

const MOST_NOTICES = 40;

const ENTRY = 'run.awaiting_human_feedback';

/** Runs wait for a human for two minutes while every second read is of before. */
export async function playLag(): Promise<Figure[]> {
  return (await Promise.all(RATES.map(playAt))).flat();
}

async function playAt(requestsPerS: number): Promise<Figure[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const ids = Array.from({ length: RUNS }, () => {
      const waits = { after_ms: 0, status: 'awaiting_human_feedback', progress: 50 };
      return simulator.add({ steps: [waits] }).id;
    });
    simulator.fault({ kind: 'claim', status: 'running', progress: 50, probability: 0.5, seed: 1 });
    const daemon = await startDaemon(context, {
      profileDir: null,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: sourceAt(simulator, requestsPerS) },
        polling: { hints: 'off', lists: 'off' },
        endpoints: { log: { type: 'log' } },
      },
    });
    await daemon.register(ids);
    await delay(LASTS_MS);
    const name = `${RUNS} runs that wait, half of the reads of before, ${requestsPerS} requests/s`;
    const inconsistent = (await daemon.events('source.inconsistent')).length;
    return [
      {
        name: `${name}: notices of waits`,
        value: (await daemon.events(ENTRY)).length,
        unit: '',
        target: { atMost: MOST_NOTICES },
      },
      // One is what must be: none and two both miss.
      {
        name: `${name}: source.inconsistent, beyond or short of one`,
        value: Math.abs(inconsistent - 1),
        unit: '',
        target: { atMost: 0 },
      },
    ];
  });
}
