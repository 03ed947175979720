import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { withContext } from '../support/context.ts';
import { sourceAt, startDaemon } from '../support/daemon.ts';
import { percentile, rounded, type Figure } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';
import { startWebhookLog } from '../support/webhook-log.ts';

const SILENT = 60;

/** Runs whose ends are measured, with and without silent names, and how far apart they end. */
const RUNS = 200;
const END_EVERY_MS = 50;

/** Polls of each run are so far apart, so that chance decides little about the delay. */
const POLL_EVERY = '1s';

const MOST_TIMES = 1.2;

/**
 * Webhooks of watches at names whose name servers do not answer: from the end of another run to its
 * webhook it takes as long as without them.
 */
export async function playSilentNames(): Promise<Figure[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const log = await startWebhookLog(context);
    const daemon = await startDaemon(context, {
      profileDir: null,
      hasSilentNames: true,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: sourceAt(simulator) },
        polling: { min_interval: POLL_EVERY, max_interval: POLL_EVERY, hints: 'off', lists: 'off' },
        endpoints: { ops: { type: 'webhook', url: log.url, events: ['run.completed'] } },
      },
    });
    const add = (count: number) => Array.from({ length: count }, () => simulator.add({}).id);
    const end = (id: string) => simulator.setStatus(id, 'completed');
    async function endHealthy() {
      const ids = add(RUNS);
      await daemon.register(ids);
      await waitFor(() => ids.every((id) => simulator.requests.run(id).count > 1), {
        timeoutMs: 30_000,
      });
      const endedAt = new Map<string, number>();
      for (const id of ids) {
        end(id);
        endedAt.set(id, Date.now());
        await delay(END_EVERY_MS);
      }
      const told = () => log.webhooks.filter(({ runId }) => endedAt.has(runId));
      await waitFor(() => told().length >= RUNS, { timeoutMs: 30_000 }).catch(() => undefined);
      const delays = told().map(({ runId, at }) => at - (endedAt.get(runId) ?? NaN));
      return { p95: percentile(delays, 0.95), told: delays.length };
    }
    const without = await endHealthy();
    const silent = add(SILENT);
    for (const [at, id] of silent.entries()) {
      const url = `https://hook-${at}.silent.example/`;
      await daemon.register([id], { endpoints: [], webhook: { url } });
    }
    for (const id of silent) end(id);
    const beside = await endHealthy();
    const name = `${SILENT} webhooks at silent names`;
    return [
      {
        name: `${name}: p95 from the end of a run to its webhook elsewhere, beside that without`,
        value: rounded(beside.p95 / without.p95),
        unit: `× (${rounded(beside.p95)} and ${rounded(without.p95)} ms)`,
        target: { atMost: MOST_TIMES },
      },
      {
        name: `${name}: ends of other runs that were delivered`,
        value: beside.told,
        unit: `of ${RUNS}`,
        target: { atLeast: RUNS },
      },
      {
        name: `${name}: source.unreachable`,
        value: await daemon.logged('source.unreachable'),
        unit: '',
        target: { atMost: 0 },
      },
    ];
  });
}
