import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { withContext } from '../support/context.ts';
import { sourceAt, startDaemon } from '../support/daemon.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';
import { startWebhookLog } from '../support/webhook-log.ts';

const RUNS = 200;
const LASTS_MS = 20_000;
const REQUESTS_PER_S = 200;

/** Beyond what the process takes with a reader: 4 MiB of lines may wait. */
const MOST_MORE_MB = 30;

/** The reader of the log stalls while a line is written for every poll. */
export async function playLogReader(): Promise<Figure[]> {
  const [stalled, read] = await Promise.all([play(true), play(false)]);
  const name = 'a reader of the log that stalls for 20 s';
  return [
    {
      name: `${name}: growth of memory beyond that with a reader`,
      value: rounded(stalled.moreMb - read.moreMb),
      unit: `MB (${rounded(stalled.moreMb)} and ${rounded(read.moreMb)} MB)`,
      target: { atMost: MOST_MORE_MB },
    },
    {
      name: `${name}: ends that another endpoint has`,
      value: stalled.ends,
      unit: `of ${RUNS}`,
      target: { atLeast: RUNS },
    },
    {
      name: `${name}: lines of a log endpoint that count as delivered`,
      value: stalled.counted,
      unit: `(${read.counted} with a reader)`,
      target: { atMost: 0 },
    },
  ];
}

async function play(isLogUnread: boolean) {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const webhooks = await startWebhookLog(context);
    const daemon = await startDaemon(context, {
      profileDir: null,
      isGrown: true,
      isLogUnread,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: sourceAt(simulator, REQUESTS_PER_S) },
        polling: { min_interval: '1s', max_interval: '1s', hints: 'off', lists: 'off' },
        log: { level: 'debug' },
        endpoints: {
          ops: { type: 'webhook', url: webhooks.url, events: ['run.completed'], default: true },
          log: { type: 'log', events: ['run.completed'], default: true },
        },
      },
    });
    const ids = Array.from({ length: RUNS }, () => simulator.add({}).id);
    await daemon.register(ids);
    await delay(LASTS_MS / 4);
    const before = (await daemon.usage()).rssBytes;
    await delay(LASTS_MS);
    const moreMb = ((await daemon.usage()).rssBytes - before) / 1e6;
    for (const id of ids) simulator.setStatus(id, 'completed');
    await waitFor(() => webhooks.webhooks.length >= RUNS, { timeoutMs: 30_000 }).catch(
      () => undefined,
    );
    const counted = await deliveredTo(daemon.url, 'log');
    return { moreMb, ends: webhooks.webhooks.length, counted };
  });
}

async function deliveredTo(url: string, endpoint: string): Promise<number> {
  const query = new URLSearchParams({ endpoint, state: 'delivered', limit: '200' });
  const response = await fetch(`${url}/v1/deliveries?${query.toString()}`);
  return ((await response.json()) as { data: unknown[] }).data.length;
}
