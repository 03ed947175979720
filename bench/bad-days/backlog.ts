import {
  deliveredTo,
  named,
  startBacklogDaemon,
  type BacklogDaemon,
} from '../../test/support/backlog-rig.ts';
import { withContext } from '../support/context.ts';
import type { Figure } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';

const QUEUED = 57_000;
const AT_ONCE = 50;

/** The most that a configured endpoint gets of a type; the first is its first single ones. */
const MOST = {
  'run.stalled': 5,
  'run.recovered': 5,
  'workflow.stalled': 1,
  'workflow.recovered': 1,
};

/** Very many runs of one workflow stall in the queue, and leave it again. */
export async function playBacklog(): Promise<Figure[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const daemon = startBacklogDaemon({ url: redis.socket, prefix: 'runwatch' });
    context.onEnd(() => daemon.stores.close());
    const runs = named(QUEUED);
    await each(runs, daemon.stall);
    await each(runs, daemon.move);
    const found = await deliveredTo(daemon, 'ops');
    return Object.entries(MOST).map(([type, most]) => ({
      name: `${QUEUED.toLocaleString('en')} runs that stall in a queue and leave it: ${type} to a configured endpoint`,
      value: found[type] ?? 0,
      unit: '',
      target: { atMost: most },
    }));
  });
}

async function each(runs: readonly string[], step: BacklogDaemon['stall']): Promise<void> {
  const left = runs.values();
  const work = async () => {
    for (const run of left) await step(run);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}
