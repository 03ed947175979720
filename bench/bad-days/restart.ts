import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { withContext } from '../support/context.ts';
import { configOf, sourceAt, startDaemon } from '../support/daemon.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';

const WATCHES = 10_000;
const NEW = 100;

/** While all are read once, and after the restart, when far more is due than that allows. */
const FIRST_REQUESTS_PER_S = 2_000;
const REQUESTS_PER_S = 10;

/** How long the store is without a daemon: by then every watch is overdue, ms. */
const AWAY_MS = 3_000;

const MOST_TIMES = 3;

/** After a restart with a store in which everything is overdue, new runs are registered. */
export async function playRestart(): Promise<Figure[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const start = (requestsPerS: number) =>
      startDaemon(context, {
        profileDir: null,
        config: configOf(redis, sourceAt(simulator, requestsPerS), {
          min_interval: '1s',
          max_interval: '2s',
          hints: 'off',
        }),
      });
    const add = (count: number) => Array.from({ length: count }, () => simulator.add({}).id);
    const isRead = (id: string) => simulator.requests.run(id).count > 0;
    const ids = add(WATCHES);
    const first = await start(FIRST_REQUESTS_PER_S);
    await first.register(ids);
    await waitFor(() => ids.every(isRead), { timeoutMs: 120_000 });
    await first.end();
    await delay(AWAY_MS);
    const second = await start(REQUESTS_PER_S);
    const fresh = add(NEW);
    const registeredAt = Date.now();
    await second.register(fresh);
    const aloneMs = (NEW / REQUESTS_PER_S) * 1_000;
    await waitFor(() => fresh.every(isRead), { timeoutMs: 10 * aloneMs }).catch(() => undefined);
    const lastMs = Math.max(
      ...fresh.map((id) => (simulator.requests.run(id).times[0] ?? Infinity) - registeredAt),
    );
    return [
      {
        name: `${NEW} new runs after a restart with ${WATCHES.toLocaleString('en')} overdue watches at ${REQUESTS_PER_S} requests/s: until all are read, beside what the rate limit alone takes`,
        value: rounded(lastMs / aloneMs),
        unit: `× (${rounded(lastMs / 1_000)} s)`,
        target: { atMost: MOST_TIMES },
      },
    ];
  });
}
